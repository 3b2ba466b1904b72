//! Who is who: the cheapest one-to-one assignment of rows to columns.

/// A table of costs, row by row.
#[derive(Debug, Clone, Default)]
pub struct Costs {
    cells: Vec<f32>,
    rows: usize,
    columns: usize,
}

impl Costs {
    /// Fills a table from a function of row and column.
    pub fn new(rows: usize, columns: usize, mut cost: impl FnMut(usize, usize) -> f32) -> Self {
        let mut cells = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            cells.extend((0..columns).map(|column| cost(row, column)));
        }
        Self { cells, rows, columns }
    }

    pub fn at(&self, row: usize, column: usize) -> f32 {
        self.cells[row * self.columns + column]
    }
}

/// The column of each row such that the sum of costs is least and as many pairs are made as the shorter side allows.
/// Costs are finite. The Hungarian method with potentials, O(shorter² · longer).
pub fn assign(costs: &Costs) -> Vec<Option<usize>> {
    let (rows, columns) = (costs.rows, costs.columns);
    if rows <= columns {
        return shortest_paths(rows, columns, |row, column| costs.at(row, column)).into_iter().map(Some).collect();
    }
    let mut columns_of = vec![None; rows];
    for (column, row) in shortest_paths(columns, rows, |column, row| costs.at(row, column)).into_iter().enumerate() {
        columns_of[row] = Some(column);
    }
    columns_of
}

/// The column of each row, for `rows` ≤ `columns`. Rows enter one at a time; each takes the cheapest path of
/// reassignments to a free column. Row and column 0 of the inner arrays stand for "none".
fn shortest_paths(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    let (mut row_price, mut column_price) = (vec![0.0_f64; rows + 1], vec![0.0_f64; columns + 1]);
    let mut row_of = vec![0; columns + 1];
    let mut came_from = vec![0; columns + 1];
    let (mut distance, mut done) = (vec![0.0_f64; columns + 1], vec![false; columns + 1]);
    for entering in 1..=rows {
        row_of[0] = entering;
        distance.fill(f64::INFINITY);
        done.fill(false);
        let mut column = 0;
        while row_of[column] != 0 {
            done[column] = true;
            let row = row_of[column];
            let (mut nearest, mut step) = (0, f64::INFINITY);
            for next in (1..=columns).filter(|&next| !done[next]) {
                let reduced = f64::from(cost(row - 1, next - 1)) - row_price[row] - column_price[next];
                if reduced < distance[next] {
                    (distance[next], came_from[next]) = (reduced, column);
                }
                if distance[next] < step {
                    (step, nearest) = (distance[next], next);
                }
            }
            for each in 0..=columns {
                if done[each] {
                    row_price[row_of[each]] += step;
                    column_price[each] -= step;
                } else {
                    distance[each] -= step;
                }
            }
            column = nearest;
        }
        while column != 0 {
            row_of[column] = row_of[came_from[column]];
            column = came_from[column];
        }
    }
    let mut column_of = vec![0; rows];
    for column in 1..=columns {
        if row_of[column] != 0 {
            column_of[row_of[column] - 1] = column - 1;
        }
    }
    column_of
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solve(rows: usize, table: &[f32]) -> Vec<Option<usize>> {
        let columns = table.len() / rows;
        assign(&Costs::new(rows, columns, |r, c| table[r * columns + c]))
    }

    #[test]
    fn the_sum_counts_not_the_first_come() {
        assert_eq!(solve(2, &[0.1, 0.2, 0.2, 0.9]), [Some(1), Some(0)]);
        assert_eq!(solve(2, &[0.1, 0.9, 0.2, 0.3]), [Some(0), Some(1)]);
    }

    #[test]
    fn the_longer_side_keeps_some_alone() {
        assert_eq!(solve(1, &[0.5, 0.1, 0.7]), [Some(1)]);
        assert_eq!(solve(3, &[0.5, 0.1, 0.7]), [None, Some(0), None]);
        assert!(assign(&Costs::new(0, 3, |_, _| 0.0)).is_empty());
        assert_eq!(assign(&Costs::new(2, 0, |_, _| 0.0)), [None, None]);
    }
}
