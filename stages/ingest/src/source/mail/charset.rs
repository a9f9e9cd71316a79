//! Mail with 8-bit text that declares no charset, or one that it does not keep to.
//!
//! The parser decodes what is declared, puts U+FFFD for what is not UTF-8 where nothing is, and
//! takes US-ASCII for windows-1252. Which of it is a guess must be the user's choice, so that such
//! text is looked at again: UTF-8 is taken as such; other bytes are refused, or read as
//! windows-1252, the usual one by far, if the config asks for repair.

use std::borrow::Cow;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::decoders::html::html_to_text;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::{Encoding, HeaderName, Message, MessagePart, MimeHeaders, PartType};

use crate::config::InvalidText;

/// Text that is not what it says it is, or does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It declares no charset, or US-ASCII, and is not UTF-8.
    Undeclared,
    /// It declares UTF-8 and is not.
    NotUtf8,
}

/// What a part says of its charset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Declared {
    Nothing,
    Ascii,
    Utf8,
    Other,
}

/// The text of a body, of HTML too. A message that is `decoded` was text before it came here: what it
/// says of charsets is true of its encoded parts alone.
pub(super) fn body_text<'m>(
    message: &'m Message<'_>,
    index: usize,
    invalid: InvalidText,
    decoded: bool,
) -> Result<Option<Cow<'m, str>>, Unreadable> {
    let Some(part) = message.text_part(index as u32) else {
        return Ok(None);
    };
    let (parsed, is_html) = match &part.body {
        PartType::Text(text) => (text, false),
        PartType::Html(text) => (text, true),
        _ => return Ok(None),
    };
    let declared = declared(part);
    let is_in_doubt = match declared {
        _ if decoded && part.encoding == Encoding::None => !raw_body(message, part).is_ascii(),
        Declared::Ascii => !parsed.is_ascii(),
        Declared::Nothing | Declared::Utf8 => parsed.contains(char::REPLACEMENT_CHARACTER),
        Declared::Other => false,
    };
    let text = if is_in_doubt {
        match String::from_utf8(raw_body(message, part)) {
            Ok(text) => Cow::Owned(text),
            Err(error) => match (declared, invalid) {
                (Declared::Utf8, InvalidText::Refuse) => return Err(Unreadable::NotUtf8),
                (Declared::Utf8, InvalidText::Repair) => Cow::Borrowed(parsed.as_ref()),
                (_, InvalidText::Refuse) => return Err(Unreadable::Undeclared),
                (_, InvalidText::Repair) => Cow::Owned(as_windows_1252(error.as_bytes())),
            },
        }
    } else {
        Cow::Borrowed(parsed.as_ref())
    };
    Ok(Some(if is_html { Cow::Owned(html_to_text(&text)) } else { text }))
}

fn declared(part: &MessagePart<'_>) -> Declared {
    let Some(charset) = part.content_type().and_then(|kind| kind.attribute("charset")) else {
        return Declared::Nothing;
    };
    let name = charset.trim().to_ascii_lowercase().replace('-', "_");
    if name.contains("utf8") || name.contains("utf_8") {
        Declared::Utf8
    } else if name.contains("ascii") || name.starts_with("ansi_x3.4") {
        Declared::Ascii
    } else if charset_decoder(charset.as_bytes()).is_none() {
        // A charset that nobody knows, such as `unknown-8bit`.
        Declared::Nothing
    } else {
        Declared::Other
    }
}

/// A body's bytes in their own charset.
fn raw_body(message: &Message<'_>, part: &MessagePart<'_>) -> Vec<u8> {
    let range = part.offset_body as usize..part.offset_end as usize;
    let bytes = message.raw_message().get(range).unwrap_or_default();
    let decoded = match part.encoding {
        Encoding::None => None,
        Encoding::QuotedPrintable => quoted_printable_decode(bytes),
        Encoding::Base64 => base64_decode(bytes),
    };
    decoded.unwrap_or_else(|| bytes.to_vec())
}

/// Takes what is UTF-8 as such, and every other byte as windows-1252.
fn as_windows_1252(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        match charset_decoder(b"windows-1252") {
            Some(decode) => text.push_str(&decode(chunk.invalid())),
            None => text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER)),
        }
    }
    text
}

/// A message whose headers are UTF-8, as far as they are `wanted`.
pub(super) fn with_readable_headers<'b>(
    message: &'b [u8],
    wanted: &[HeaderName<'static>],
    invalid: InvalidText,
) -> Result<Cow<'b, [u8]>, Unreadable> {
    let (headers, body) = message.split_at(headers_length(message));
    if std::str::from_utf8(headers).is_ok() {
        return Ok(Cow::Borrowed(message));
    }
    if invalid == InvalidText::Repair {
        let mut repaired = as_windows_1252(headers).into_bytes();
        repaired.extend_from_slice(body);
        return Ok(Cow::Owned(repaired));
    }
    let mut is_wanted = false;
    for line in headers.split_inclusive(|&byte| byte == b'\n') {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            let name = String::from_utf8_lossy(name);
            is_wanted = wanted.iter().any(|known| known.as_str().eq_ignore_ascii_case(name.trim()));
        }
        if is_wanted && std::str::from_utf8(line).is_err() {
            return Err(Unreadable::Undeclared);
        }
    }
    Ok(Cow::Borrowed(message))
}

/// The length of what comes before the first blank line.
fn headers_length(message: &[u8]) -> usize {
    let mut length = 0;
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        length += line.len();
    }
    length
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;

    fn text(content_type: &str, body: &[u8], invalid: InvalidText) -> Result<String, Unreadable> {
        let mut message = format!("From: a@b.org\n{content_type}\n").into_bytes();
        message.extend_from_slice(body);
        let message = MessageParser::default().parse(&message).unwrap();
        body_text(&message, 0, invalid, false).map(|text| text.unwrap().into_owned())
    }

    #[test]
    fn of_text_only_encoded_parts_are_decoded_again() {
        let latin = "Content-Type: text/plain; charset=iso-8859-1\n";
        let of = |encoding: &str, body: &str| {
            let message = format!("From: a@b.org\n{latin}{encoding}\n{body}");
            let message = MessageParser::default().parse(message.as_bytes()).unwrap();
            body_text(&message, 0, InvalidText::Refuse, true).unwrap().unwrap().into_owned()
        };
        assert_eq!(of("", "Gr\u{fc}\u{df}e \u{20ac}"), "Gr\u{fc}\u{df}e \u{20ac}");
        assert_eq!(of("Content-Transfer-Encoding: 8bit\n", "\u{fc}"), "\u{fc}");
        assert_eq!(of("Content-Transfer-Encoding: quoted-printable\n", "Gr=FC!"), "Gr\u{fc}!");
    }

    #[test]
    fn undeclared_bytes_are_utf_8_or_the_users_choice() {
        use InvalidText::{Refuse, Repair};
        let latin = b"Gr\xFC\xDFe \x80 \xC3\xA9";
        for nothing in [
            "",
            "Content-Type: text/plain; charset=us-ascii\n",
            "Content-Type: text/plain; charset=ANSI_X3.4-1968\n",
            "Content-Type: text/plain; charset=unknown-8bit\n",
        ] {
            assert_eq!(text(nothing, latin, Refuse), Err(Unreadable::Undeclared), "{nothing}");
            assert_eq!(text(nothing, latin, Repair).unwrap(), "Grüße € é", "{nothing}");
            for invalid in [Refuse, Repair] {
                let utf8 = "Grüße \u{FFFD}";
                assert_eq!(text(nothing, utf8.as_bytes(), invalid).unwrap(), utf8, "{nothing}");
            }
        }
        let utf8 = "Content-Type: text/plain; charset=utf-8\n";
        assert_eq!(text(utf8, latin, Refuse), Err(Unreadable::NotUtf8));
        assert_eq!(text(utf8, b"Gr\xFC!", Repair).unwrap(), "Gr\u{FFFD}!");
        let declared = "Content-Type: text/plain; charset=iso-8859-1\n";
        assert_eq!(text(declared, b"Gr\xFC\xDFe", Refuse).unwrap(), "Grüße");
    }

    #[test]
    fn encoded_and_html_bodies_are_looked_at_too() {
        let quoted = "Content-Transfer-Encoding: quoted-printable\n";
        assert_eq!(text(quoted, b"Gr=FC!", InvalidText::Refuse), Err(Unreadable::Undeclared));
        assert_eq!(text(quoted, b"Gr=FC!", InvalidText::Repair).unwrap(), "Grü!");
        let base64 = "Content-Transfer-Encoding: base64\n";
        assert_eq!(text(base64, b"R3L8IQ==", InvalidText::Refuse), Err(Unreadable::Undeclared));
        assert_eq!(text(base64, b"R3L8IQ==", InvalidText::Repair).unwrap(), "Grü!");
        let html = "Content-Type: text/html\n";
        let found = text(html, b"<p>Gr\xFC &amp; x</p>", InvalidText::Repair).unwrap();
        assert_eq!(found.trim(), "Grü & x");
    }

    #[test]
    fn headers_count_if_they_are_wanted() {
        let message = b"From: a@b.org\nSubject: x\n J\xF6rg\n\nbody \xFC";
        let wanted = [HeaderName::Subject];
        let refused = with_readable_headers(message, &wanted, InvalidText::Refuse);
        assert_eq!(refused, Err(Unreadable::Undeclared));
        let others = with_readable_headers(message, &[HeaderName::From], InvalidText::Refuse);
        assert_eq!(others.unwrap(), &message[..]);
        let repaired = with_readable_headers(message, &wanted, InvalidText::Repair).unwrap();
        assert_eq!(
            repaired,
            "From: a@b.org\nSubject: x\n Jörg\n\nbody ".bytes().chain([0xFC]).collect::<Vec<_>>()
        );
    }
}
