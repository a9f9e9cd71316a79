"""Serves Presidio's analyzer on loopback, with the route and the bodies of its own server.

    python tests/reference/presidio_service.py '["a text", …]' [SPACY_MODEL_FOLDER]

When it is ready it prints a line of JSON: its address, and what the engine finds in the given
texts when it is called directly, in bytes. Without a spaCy model only the pattern recognizers work.
"""

import json
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, AnalyzerRequest, BatchAnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

# The suffix list that the package comes with; nothing is fetched.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())


def make_engine(model):
    nlp = NlpEngineProvider(nlp_configuration={
        "nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]})
    return AnalyzerEngine(nlp_engine=nlp.create_engine(), supported_languages=["en"])


def expected(engine, text):
    if not text.strip():
        return []
    size = lambda index: len(text[:index].encode())
    return sorted([size(found.start), size(found.end), found.entity_type, found.score]
                  for found in engine.analyze(text, language="en"))


def handler(batch_engine):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, self.analyze(AnalyzerRequest(body))
            except Exception as error:
                status, answer = 500, {"error": str(error)}
            answer = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def analyze(self, request):
            if self.path != "/analyze" or not request.text or not request.language:
                raise ValueError("wrong request")
            batch_engine.analyzer_engine.get_supported_entities(request.language)
            many = isinstance(request.text, list)
            found = batch_engine.analyze_iterator(
                request.text if many else [request.text], language=request.language,
                entities=request.entities, score_threshold=request.score_threshold)
            lists = [[dict(entity.to_dict(), recognition_metadata=None) for entity in entities]
                     for entities in found]
            return lists if many else lists[0]

        def log_message(self, *_):
            pass

    return Handler


def main():
    texts, model = json.loads(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None
    if model is None:
        model = tempfile.mkdtemp()
        spacy.blank("en").to_disk(model)
    engine = make_engine(model)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(BatchAnalyzerEngine(engine)))
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}",
                      "expected": [expected(engine, text) for text in texts]}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
