//! Graphs as exporters other than those of the fixtures may write them, and as none should.

use super::message::{Entry, Graph};
use super::*;

/// The matrix of a layer `l` with 3 outputs and 2 inputs.
const WEIGHT: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// The same with its columns as rows.
const COLUMNS: [f32; 6] = [1.0, 3.0, 5.0, 2.0, 4.0, 6.0];

fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
    Tensor {
        dims: dims.to_vec(),
        data_type: Tensor::FLOAT,
        name: name.into(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into(),
        ..Tensor::default()
    }
}

fn node(kind: &str, input: &[&str], output: &str) -> Node {
    Node {
        input: input.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        op_type: kind.into(),
        ..Node::default()
    }
}

fn with(mut node: Node, attribute: Attribute) -> Node {
    node.attribute.push(attribute);
    node
}

fn whole(name: &str, i: i64) -> Attribute {
    Attribute { name: name.into(), i, ..Attribute::default() }
}

fn transpose(input: &str, output: &str) -> Node {
    let perm = Attribute { name: "perm".into(), ints: vec![1, 0], ..Attribute::default() };
    with(node("Transpose", &[input], output), perm)
}

fn written(
    folder: &Path,
    initializer: Vec<Tensor>,
    node: Vec<Node>,
) -> Result<OnnxFile, LoadError> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, Model { graph: Some(Graph { node, initializer }) }.encode_to_vec())
        .unwrap();
    OnnxFile::open(&path)
}

/// The weight of `l`, or why there is none.
fn weight(mut initializer: Vec<Tensor>, node: Vec<Node>) -> Result<Vec<f32>, String> {
    let folder = tempfile::tempdir().unwrap();
    initializer.push(tensor("l.bias", &[3], &[0.1, 0.2, 0.3]));
    written(folder.path(), initializer, node)
        .and_then(|file| file.tensor("l.weight", &[3, 2]))
        .map_err(|error| error.to_string())
}

#[test]
fn a_matrix_is_found_however_the_graph_multiplies_by_it() {
    let rows = |name: &str| tensor(name, &[3, 2], &WEIGHT);
    let columns = |name: &str| tensor(name, &[2, 3], &COLUMNS);
    let product = |matrix: &str| node("MatMul", &["x", matrix], "p");
    let sum = || node("Add", &["p", "l.bias"], "y");
    let gemm = |matrix: &str| node("Gemm", &["x", matrix, "l.bias"], "y");
    let constant = Attribute { t: Some(columns("")), ..whole("value", 0) };
    let graphs = [
        (vec![columns("m")], vec![product("m"), sum()]),
        (vec![columns("m")], vec![sum(), product("m")]),
        (vec![columns("m")], vec![product("m"), node("Add", &["l.bias", "p"], "y")]),
        // As it was, and transposed by the graph.
        (vec![rows("l.weight")], vec![transpose("l.weight", "m"), product("m"), sum()]),
        // Its name says nothing of which way round it is.
        (vec![columns("l.weight")], vec![product("l.weight"), sum()]),
        (vec![columns("m")], vec![node("Identity", &["m"], "n"), product("n"), sum()]),
        (vec![], vec![with(node("Constant", &[], "m"), constant), product("m"), sum()]),
        (vec![columns("m")], vec![gemm("m")]),
        (vec![rows("m")], vec![with(gemm("m"), whole("transB", 1))]),
        (vec![columns("m")], vec![transpose("m", "n"), with(gemm("n"), whole("transB", 1))]),
        // Twice, as DeBERTa shares its projections.
        (
            vec![columns("m")],
            vec![
                product("m"),
                sum(),
                node("MatMul", &["z", "m"], "q"),
                node("Add", &["q", "l.bias"], "w"),
            ],
        ),
    ];
    for (index, (initializer, node)) in graphs.into_iter().enumerate() {
        assert_eq!(weight(initializer, node).as_deref(), Ok(&WEIGHT[..]), "graph {index}");
    }
}

#[test]
fn what_is_not_surely_the_matrix_is_refused() {
    let columns = |name: &str| tensor(name, &[2, 3], &COLUMNS);
    let product = || node("MatMul", &["x", "m"], "p");
    let sum = || node("Add", &["p", "l.bias"], "y");
    let foreign = Node { domain: "com.microsoft".into(), ..product() };
    let scale = Attribute { name: "alpha".into(), f: 2.0, ..Attribute::default() };
    let gemm = || node("Gemm", &["x", "m", "l.bias"], "y");
    let other = [node("MatMul", &["x", "n"], "q"), node("Add", &["q", "l.bias"], "z")];
    let circle = vec![node("Identity", &["n"], "m"), node("Identity", &["m"], "n")];
    let none = "no matrix whose product";
    let cases = [
        (vec![columns("m")], vec![foreign, sum()], "it has a node MatMul of com.microsoft"),
        (vec![columns("m")], vec![with(gemm(), scale)], none),
        (vec![columns("m")], vec![with(gemm(), whole("transA", 1))], none),
        (vec![columns("m")], vec![product(), node("Mul", &["p", "l.bias"], "y")], none),
        (vec![], [circle, vec![product(), sum()]].concat(), none),
        (vec![], vec![node("Add", &["y", "l.bias"], "y")], none),
        (
            vec![columns("m"), columns("n")],
            [vec![product(), sum()], other.into()].concat(),
            "products of two matrices",
        ),
        (vec![columns("m"), columns("l.weight")], vec![product(), sum()], "is not what"),
        (vec![tensor("m", &[3, 2], &WEIGHT)], vec![product(), sum()], "has shape [3, 2]"),
        (
            vec![columns("m")],
            vec![node("DynamicQuantizeLinear", &["x"], "x8"), product(), sum()],
            "are quantised",
        ),
    ];
    for (initializer, node, message) in cases {
        let error = weight(initializer, node).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn numbers_are_read_in_their_types_and_places() {
    let folder = tempfile::tempdir().unwrap();
    let read = |tensor: Tensor| {
        written(folder.path(), vec![tensor], Vec::new())
            .and_then(|file| file.tensor("t", &[2]))
            .map_err(|error| error.to_string())
    };
    let two = tensor("t", &[2], &[1.5, -2.0]);
    let raw = |data_type, bytes: &[u8]| Tensor {
        data_type,
        raw_data: bytes.to_vec().into(),
        ..two.clone()
    };
    let list = Tensor { float_data: vec![1.5, -2.0], raw_data: Bytes::new(), ..two.clone() };
    std::fs::write(folder.path().join("data"), [b"skip", &two.raw_data[..], b"rest"].concat())
        .unwrap();
    let beside = |entries: &[(&str, &str)]| Tensor {
        raw_data: Bytes::new(),
        data_location: Tensor::EXTERNAL,
        external_data: entries
            .iter()
            .map(|&(key, value)| Entry { key: key.into(), value: value.into() })
            .collect(),
        ..two.clone()
    };
    for tensor in [
        two.clone(),
        list,
        raw(Tensor::FLOAT16, &[0x00, 0x3e, 0x00, 0xc0]),
        raw(Tensor::BFLOAT16, &[0xc0, 0x3f, 0x00, 0xc0]),
        beside(&[("location", "data"), ("offset", "4"), ("length", "8")]),
    ] {
        assert_eq!(read(tensor), Ok(vec![1.5, -2.0]));
    }
    let sized = |dims: &[i64]| Tensor { dims: dims.to_vec(), ..two.clone() };
    for (tensor, message) in [
        (sized(&[3]), "do not fit"),
        (sized(&[-2]), "do not fit"),
        (sized(&[i64::MAX, i64::MAX]), "do not fit"),
        (sized(&[2, 1]), "has shape [2, 1]"),
        (raw(Tensor::FLOAT, &[0; 7]), "do not fit"),
        (raw(3, &[0; 2]), "type 3"),
        (beside(&[("location", "data"), ("offset", "9"), ("length", "8")]), "do not fit"),
        (beside(&[("location", "data"), ("offset", "99")]), "do not fit"),
        (beside(&[("location", "data"), ("offset", "-4")]), "do not fit"),
        (beside(&[("location", "gone")]), "gone cannot be read"),
        (beside(&[("location", "../data")]), "no file beside it"),
        (beside(&[("location", "/etc/hostname")]), "no file beside it"),
        (beside(&[("location", "..")]), "no file beside it"),
        (beside(&[]), "no file beside it"),
    ] {
        let error = read(tensor).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}
