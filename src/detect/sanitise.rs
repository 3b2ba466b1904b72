//! Cleans an ONNX file before it is loaded: a weight that is also listed as a graph input is taken off that list.
//! Old exports list all of theirs; ONNX Runtime must then expect them to be overridden, cannot fold them into the
//! convolutions, and runs such a model three times slower. Works on the protobuf bytes, touches nothing else, and
//! never panics or grows beyond its input, whatever the bytes.

use std::collections::HashSet;

/// ModelProto.graph
const GRAPH: u64 = 7;
/// GraphProto.initializer, a TensorProto
const INITIALIZER: u64 = 5;
/// TensorProto.name
const TENSOR_NAME: u64 = 8;
/// GraphProto.input, a ValueInfoProto
const INPUT: u64 = 11;
/// ValueInfoProto.name
const VALUE_NAME: u64 = 1;

/// Why bytes are no ONNX model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("its bytes are no protobuf message (broken at byte {at})")]
    Protobuf { at: usize },
    #[error("it has no graph")]
    NoGraph,
}

/// The model with every graph input dropped that is an initializer. Comes back unchanged where there is none.
pub fn without_weight_inputs(model: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut cleaned = Vec::with_capacity(model.len());
    let mut graphs = 0;
    for field in Fields::of(model, 0) {
        let field = field?;
        match field.bytes {
            Some(graph) if field.number == GRAPH => {
                graphs += 1;
                let graph = clean_graph(graph, field.body_at)?;
                push_varint(&mut cleaned, GRAPH << 3 | 2);
                push_varint(&mut cleaned, graph.len() as u64);
                cleaned.extend_from_slice(&graph);
            }
            _ => cleaned.extend_from_slice(field.whole),
        }
    }
    if graphs == 0 { Err(Malformed::NoGraph) } else { Ok(cleaned) }
}

fn clean_graph(graph: &[u8], at: usize) -> Result<Vec<u8>, Malformed> {
    let mut weights = HashSet::new();
    for field in Fields::of(graph, at) {
        let field = field?;
        if let (INITIALIZER, Some(tensor)) = (field.number, field.bytes)
            && let Some(name) = name_of(tensor, field.body_at, TENSOR_NAME)?
        {
            weights.insert(name);
        }
    }
    let mut cleaned = Vec::with_capacity(graph.len());
    for field in Fields::of(graph, at) {
        let field = field?;
        let dropped = match field.bytes {
            Some(value) if field.number == INPUT => {
                name_of(value, field.body_at, VALUE_NAME)?.is_some_and(|name| weights.contains(name))
            }
            _ => false,
        };
        if !dropped {
            cleaned.extend_from_slice(field.whole);
        }
    }
    Ok(cleaned)
}

fn name_of(message: &[u8], at: usize, number: u64) -> Result<Option<&[u8]>, Malformed> {
    let mut name = None;
    for field in Fields::of(message, at) {
        let field = field?;
        if field.number == number {
            name = field.bytes.or(name);
        }
    }
    Ok(name)
}

/// One field of a message as it stands there.
struct Field<'a> {
    number: u64,
    /// Tag, length and body.
    whole: &'a [u8],
    /// The body of a length-delimited field.
    bytes: Option<&'a [u8]>,
    /// Where the body begins, counted from the file's start.
    body_at: usize,
}

/// Walks the fields of one message; ends after the first error.
struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    offset: usize,
}

impl<'a> Fields<'a> {
    fn of(message: &'a [u8], offset: usize) -> Self {
        Self { message, at: 0, offset }
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let start = self.at;
        let tag = self.varint()?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        let body_len = match wire_type {
            0 => {
                self.varint()?;
                0
            }
            1 => 8,
            2 => usize::try_from(self.varint()?).ok()?,
            5 => 4,
            _ => return None,
        };
        let body_at = self.at;
        let body = self.message.get(body_at..body_at.checked_add(body_len)?)?;
        self.at += body_len;
        Some(Field {
            number,
            whole: &self.message[start..self.at],
            bytes: (wire_type == 2).then_some(body),
            body_at: self.offset + body_at,
        })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.message.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.message.len() {
            return None;
        }
        let start = self.at;
        let field = self.field();
        if field.is_none() {
            self.at = self.message.len();
        }
        Some(field.ok_or(Malformed::Protobuf { at: self.offset + start }))
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(number: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_varint(&mut out, number << 3 | 2);
        push_varint(&mut out, body.len() as u64);
        out.extend_from_slice(body);
        out
    }

    fn input(name: &str) -> Vec<u8> {
        message(INPUT, &message(VALUE_NAME, name.as_bytes()))
    }

    fn weight(name: &str) -> Vec<u8> {
        // A data type (field 2, varint) and a float (field 4, fixed) stand before the name.
        let tensor = [&[0x10, 1, 0x25, 0, 0, 0x80, 0x3f][..], &message(TENSOR_NAME, name.as_bytes())].concat();
        message(INITIALIZER, &tensor)
    }

    fn model(graph: &[Vec<u8>]) -> Vec<u8> {
        // ir_version before, opset_import after the graph.
        [vec![0x08, 7], message(GRAPH, &graph.concat()), message(8, &[0x10, 13])].concat()
    }

    #[test]
    fn drops_the_weights_from_the_inputs_and_nothing_else() {
        let listed = model(&[input("image"), input("w1"), weight("w1"), weight("w2"), input("w2")]);
        let expected = model(&[input("image"), weight("w1"), weight("w2")]);
        assert_eq!(without_weight_inputs(&listed), Ok(expected));
    }

    #[test]
    fn a_clean_model_comes_back_unchanged() {
        let clean = model(&[input("image"), weight("w1")]);
        assert_eq!(without_weight_inputs(&clean), Ok(clean.clone()));
    }

    #[test]
    fn says_where_a_file_breaks() {
        let mut cut = model(&[input("image"), weight("w1")]);
        cut.truncate(cut.len() - 8);
        assert_eq!(without_weight_inputs(&cut), Err(Malformed::Protobuf { at: 2 }));
        assert_eq!(without_weight_inputs(b"<html>"), Err(Malformed::Protobuf { at: 0 }));
        assert_eq!(without_weight_inputs(&[0x08, 7]), Err(Malformed::NoGraph));
        assert_eq!(without_weight_inputs(&[]), Err(Malformed::NoGraph));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_grows(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(cleaned) = without_weight_inputs(&bytes) {
                // A length written with superfluous bytes may shrink; nothing grows.
                prop_assert!(cleaned.len() <= bytes.len());
            }
        }

        #[test]
        fn a_damaged_model_never_panics(at in 0usize..64, bytes in prop::collection::vec(any::<u8>(), 1..4)) {
            let mut damaged = model(&[input("image"), input("w1"), weight("w1"), weight("w2")]);
            let len = damaged.len();
            for (offset, byte) in bytes.into_iter().enumerate() {
                damaged[(at + offset) % len] = byte;
            }
            if let Ok(cleaned) = without_weight_inputs(&damaged) {
                prop_assert!(cleaned.len() <= len);
                prop_assert_eq!(without_weight_inputs(&cleaned), Ok(cleaned.clone()));
            }
        }
    }
}
