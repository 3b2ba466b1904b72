//! A row of a collection as named values, in the interface's names. What has no value is not there.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The row's; shown to nobody unless a cell says it too.
    pub id: i64,
    pub cells: Vec<(String, Cell)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cell {
    Text(String),
    Integer(i64),
    Flag(bool),
    Time { unix_s: i64 },
    Record(Record),
    List(Vec<Record>),
}

impl Record {
    pub fn get(&self, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|(cell, _)| cell == name).map(|(_, value)| value)
    }

    pub(super) fn add(&mut self, name: &str, cell: Cell) {
        let empty = matches!(&cell, Cell::List(rows) if rows.is_empty());
        if !empty {
            self.cells.push((name.to_owned(), cell));
        }
    }
}
