//! Writes ONNX models of one operator, byte by byte, so that tests need no file of anybody's.
//! Field numbers are those of onnx.proto.

/// `in` goes to `out` unchanged.
pub fn identity(shape: [u8; 4]) -> Vec<u8> {
    one_node("Identity", shape)
}

/// One node from `in` to `out`, both f32 of that shape.
pub fn one_node(operator: &str, shape: [u8; 4]) -> Vec<u8> {
    let node = [text(1, "in"), text(2, "out"), text(4, operator)].concat();
    let graph = [
        message(1, &node),
        text(2, "graph"),
        message(11, &value_info("in", shape)),
        message(12, &value_info("out", shape)),
    ];
    let (ir_version, opset) = (number(1, 8), message(8, &number(2, 13)));
    [ir_version, message(7, &graph.concat()), opset].concat()
}

fn value_info(name: &str, shape: [u8; 4]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&dim| message(1, &number(1, dim))).collect();
    let tensor = [number(1, 1), message(2, &dims)].concat();
    [text(1, name), message(2, &message(1, &tensor))].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    assert!(value < 0x80, "one byte is enough here");
    vec![field << 3, value]
}

fn text(field: u8, value: &str) -> Vec<u8> {
    message(field, value.as_bytes())
}

fn message(field: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 0x4000, "two length bytes are enough here");
    let len = [body.len() as u8 | 0x80, (body.len() >> 7) as u8];
    [&[field << 3 | 2], &len[..], body].concat()
}
