//! Reads what WIDER FACE publishes its lists in: MATLAB 5 files, of which cells, texts and numbers are understood.
//! Format: MathWorks, "MAT-File Format". Never panics, whatever the bytes; nesting and size are bounded.

use std::io::Read;

const HEADER_BYTES: usize = 128;
const MAX_DEPTH: usize = 8;
const MAX_INFLATED_BYTES: u64 = 64 << 20;

/// Data types (`mi…`).
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const DOUBLE: u32 = 9;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;

/// Array classes (`mx…_CLASS`).
const CELL_CLASS: u8 = 1;
const STRUCT_CLASS: u8 = 2;
const OBJECT_CLASS: u8 = 3;
const CHAR_CLASS: u8 = 4;
const SPARSE_CLASS: u8 = 5;

/// A variable's value; arrays in column order.
#[derive(Debug, Clone, PartialEq)]
pub enum MatValue {
    Cells(Vec<MatValue>),
    Text(String),
    Numbers(Vec<f64>),
    /// A kind that nobody here needs.
    Other,
}

impl MatValue {
    pub fn cells(&self) -> &[Self] {
        if let Self::Cells(cells) = self { cells } else { &[] }
    }
}

/// The file's variables by name; `None` when it is no such file or is damaged.
pub fn read(file: &[u8]) -> Option<Vec<(String, MatValue)>> {
    let header = file.get(..HEADER_BYTES)?;
    if !header.starts_with(b"MATLAB 5.0") || !header.ends_with(b"IM") {
        return None;
    }
    let mut rest = &file[HEADER_BYTES..];
    let mut variables = Vec::new();
    while !rest.is_empty() {
        let (kind, body) = element(&mut rest)?;
        let inflated;
        let matrix = match kind {
            COMPRESSED => {
                inflated = inflate(body)?;
                let (MATRIX, body) = element(&mut inflated.as_slice())? else { return None };
                body
            }
            MATRIX => body,
            _ => continue,
        };
        variables.push(parse_matrix(matrix, 0)?);
    }
    Some(variables)
}

fn inflate(body: &[u8]) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    flate2::read::ZlibDecoder::new(body).take(MAX_INFLATED_BYTES).read_to_end(&mut inflated).ok()?;
    Some(inflated)
}

/// Takes one tagged element off the front: its data type and its bytes. Elements are padded to 8 bytes, but for
/// compressed ones; up to 4 bytes may stand within the tag.
fn element<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    let tag = u32::from_le_bytes(*rest.first_chunk()?);
    let small_len = (tag >> 16) as usize;
    if small_len > 0 {
        let body = rest.get(4..8)?.get(..small_len)?;
        *rest = &rest[8..];
        return Some((tag & 0xffff, body));
    }
    let len = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
    let body = rest.get(8..)?.get(..len)?;
    let padded = if tag == COMPRESSED { len } else { len.next_multiple_of(8) };
    *rest = rest[8..].get(padded..).unwrap_or_default();
    Some((tag, body))
}

/// Name and value of an array.
fn parse_matrix(mut rest: &[u8], depth: usize) -> Option<(String, MatValue)> {
    if rest.is_empty() {
        // An empty cell may stand as an element without content.
        return Some((String::new(), MatValue::Numbers(Vec::new())));
    }
    let (_, flags) = element(&mut rest)?;
    let class = *flags.first()?;
    let (_, _dimensions) = element(&mut rest)?;
    let (_, name) = element(&mut rest)?;
    let name = String::from_utf8_lossy(name).into_owned();
    let value = match class {
        CELL_CLASS if depth < MAX_DEPTH => {
            let mut cells = Vec::new();
            while !rest.is_empty() {
                let (MATRIX, body) = element(&mut rest)? else { return None };
                cells.push(parse_matrix(body, depth + 1)?.1);
            }
            MatValue::Cells(cells)
        }
        CELL_CLASS => return None,
        CHAR_CLASS => {
            let (kind, body) = element(&mut rest)?;
            MatValue::Text(text(kind, body)?)
        }
        STRUCT_CLASS | OBJECT_CLASS | SPARSE_CLASS => MatValue::Other,
        _ => {
            let (kind, body) = element(&mut rest)?;
            MatValue::Numbers(numbers(kind, body)?)
        }
    };
    Some((name, value))
}

fn text(kind: u32, body: &[u8]) -> Option<String> {
    match kind {
        UTF8 | INT8 | UINT8 => Some(String::from_utf8_lossy(body).into_owned()),
        UINT16 => {
            let units: Vec<u16> = body.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
            Some(String::from_utf16_lossy(&units))
        }
        _ => None,
    }
}

/// Numbers are stored in the smallest type that holds them all, whatever their class.
fn numbers(kind: u32, body: &[u8]) -> Option<Vec<f64>> {
    Some(match kind {
        INT8 => body.iter().map(|byte| f64::from(*byte as i8)).collect(),
        UINT8 => body.iter().map(|byte| f64::from(*byte)).collect(),
        INT16 => body.as_chunks().0.iter().map(|bytes| f64::from(i16::from_le_bytes(*bytes))).collect(),
        UINT16 => body.as_chunks().0.iter().map(|bytes| f64::from(u16::from_le_bytes(*bytes))).collect(),
        INT32 => body.as_chunks().0.iter().map(|bytes| f64::from(i32::from_le_bytes(*bytes))).collect(),
        UINT32 => body.as_chunks().0.iter().map(|bytes| f64::from(u32::from_le_bytes(*bytes))).collect(),
        DOUBLE => body.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tagged(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut out = [kind.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(8), 0);
        out
    }

    fn array(class: u8, name: &str, content: &[u8]) -> Vec<u8> {
        let flags = tagged(UINT32, &[class, 0, 0, 0, 0, 0, 0, 0]);
        let dimensions = tagged(INT32, &[1, 0, 0, 0, 1, 0, 0, 0]);
        tagged(MATRIX, &[flags, dimensions, tagged(INT8, name.as_bytes()), content.to_vec()].concat())
    }

    fn file(variables: &[u8]) -> Vec<u8> {
        let mut header = b"MATLAB 5.0 MAT-file".to_vec();
        header.resize(HEADER_BYTES - 4, b' ');
        header.extend([0, 1]);
        header.extend(b"IM");
        header.extend(variables);
        header
    }

    fn sample() -> Vec<u8> {
        // Two small bytes within the tag; class 9 is uint8.
        let small = array(9, "", &[&[2, 0, 2, 0, 7, 9, 0, 0][..]].concat());
        let word = array(CHAR_CLASS, "", &tagged(UINT16, &[b'h', 0, b'i', 0]));
        array(CELL_CLASS, "lists", &[small, word].concat())
    }

    #[test]
    fn cells_texts_and_numbers_are_read() {
        let expected = MatValue::Cells(vec![MatValue::Numbers(vec![7.0, 9.0]), MatValue::Text("hi".to_owned())]);
        assert_eq!(read(&file(&sample())), Some(vec![("lists".to_owned(), expected)]));
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        assert_eq!(read(b"MATLAB 7.3"), None);
        assert_eq!(read(&file(&sample()[..40])), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0usize..200, bytes in prop::collection::vec(any::<u8>(), 1..24)) {
            let mut damaged = file(&sample());
            let len = damaged.len();
            for (offset, byte) in bytes.into_iter().enumerate() {
                damaged[(HEADER_BYTES + at + offset) % len] = byte;
            }
            let _ = read(&damaged);
        }
    }
}
