//! Where in a JSON text a field stands, by its path (`input.data[0].url`).
//! For error messages only: the text is known to parse, and a miss gives the nearest enclosing value.

/// Counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub line: usize,
    pub column: usize,
}

/// The position of the value at `field`, or of the deepest value on the way to it.
pub(super) fn locate(text: &[u8], field: &str) -> Position {
    let mut walk = Walk { text, at: 0, wanted: field, best: 0, best_len: 0 };
    walk.value("");
    position_of(text, walk.best)
}

fn position_of(text: &[u8], offset: usize) -> Position {
    let before = &text[..offset.min(text.len())];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
    Position { line, column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1 }
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    wanted: &'a str,
    /// Offset of the deepest value met on the wanted path.
    best: usize,
    best_len: usize,
}

impl Walk<'_> {
    fn value(&mut self, path: &str) {
        self.skip_space();
        let on_the_way = self
            .wanted
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || path.is_empty() || rest.starts_with('.') || rest.starts_with('['));
        if on_the_way && path.len() >= self.best_len {
            (self.best, self.best_len) = (self.at, path.len());
        }
        match self.peek() {
            Some(b'{') => self.object(path),
            Some(b'[') => self.array(path),
            Some(b'"') => {
                self.string();
            }
            _ => self.skip_while(|b| !matches!(b, b',' | b']' | b'}') && !b.is_ascii_whitespace()),
        }
    }

    fn object(&mut self, path: &str) {
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => {
                    let key = self.string();
                    self.skip_space();
                    self.at += 1;
                    self.value(&if path.is_empty() { key } else { format!("{path}.{key}") });
                }
                Some(b',') => self.at += 1,
                _ => break self.at += 1,
            }
        }
    }

    fn array(&mut self, path: &str) {
        self.at += 1;
        let mut index = 0;
        loop {
            self.skip_space();
            match self.peek() {
                None | Some(b']') => break self.at += 1,
                Some(b',') => {
                    self.at += 1;
                    index += 1;
                }
                Some(_) => self.value(&format!("{path}[{index}]")),
            }
        }
    }

    /// The string at hand, unescaped.
    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(b) = self.peek() {
            self.at += if b == b'\\' { 2 } else { 1 };
            if b == b'"' {
                break;
            }
        }
        let end = self.at.min(self.text.len());
        serde_json::from_slice(&self.text[start..end]).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        self.skip_while(|b| b.is_ascii_whitespace());
    }

    fn skip_while(&mut self, test: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&test) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, line: usize, column: usize) {
        let text =
            "{\n  \"名\": 1, \"input\": {\"data\": [ {\"url\": \"a\\\"b\"},\n {\"url\": 7}]},\n  \"x\": [[1,2],[]]\n}";
        assert_eq!(locate(text.as_bytes(), field), Position { line, column }, "{field}");
    }

    #[test]
    fn finds_values_and_for_absent_ones_the_nearest_enclosing() {
        check("body", 1, 1);
        check("名", 2, 8);
        check("input.data[0].url", 2, 39);
        check("input.data[1].url", 3, 10);
        check("input.data[1].index", 3, 2);
        check("x[0][1]", 4, 12);
        check("nothing", 1, 1);
    }

    #[test]
    fn broken_text_ends() {
        for text in ["", "{", "[", "{\"a\"", "{\"a\":", "[1,", "\"a\\", "}", "{]}"] {
            locate(text.as_bytes(), "a[0]");
        }
    }
}
