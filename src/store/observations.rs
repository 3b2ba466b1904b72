//! What was seen of faces, frame by frame and without any picture, so that other rules can be tried on it afterwards.
//! Bounded: the newest two hundred thousand frames with faces in them.

use rusqlite::Connection;

use super::error::StoreError;
use super::moment::UpMs;
use crate::domain::{Detection, Landmarks, Point, Rect, UnixMs};

const KEPT: i64 = 200_000;
/// Numbers of a face without and with its landmarks.
const PLAIN: usize = 7;
const FULL: usize = PLAIN + 10;

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    pub task_id: String,
    /// The stream's run: its times and tracks are its own.
    pub session: String,
    pub at: UnixMs,
    pub stream_ns: u64,
    pub frame_size: (f32, f32),
    /// Empty for the first frame after one with faces.
    pub faces: Vec<SeenFace>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeenFace {
    pub detection: Detection,
    pub sharpness: f32,
    pub exposure: f32,
}

pub fn add(connection: &Connection, rows: &[Observation], now: UpMs) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO observations (task_id, session, at, born_at, stream_ns, width, height, faces)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in rows {
        let faces: Vec<_> = row.faces.iter().map(numbers).collect();
        let faces = serde_json::to_string(&faces).expect("numbers only: always JSON");
        let ((width, height), stream_ns) = (row.frame_size, row.stream_ns as i64);
        insert.execute((&row.task_id, &row.session, row.at.0, now.0, stream_ns, width, height, faces))?;
    }
    connection
        .prepare_cached("DELETE FROM observations WHERE id <= (SELECT max(id) FROM observations) - ?1")?
        .execute([KEPT])?;
    Ok(())
}

/// All of a task that is known, in order.
pub fn list(connection: &Connection, task_id: &str) -> Result<Vec<Observation>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT session, at, stream_ns, width, height, faces FROM observations WHERE task_id = ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([task_id], |row| {
        let faces: Vec<Vec<f32>> = serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default();
        Ok(Observation {
            task_id: task_id.to_owned(),
            session: row.get(0)?,
            at: UnixMs(row.get(1)?),
            stream_ns: row.get::<_, i64>(2)?.unsigned_abs(),
            frame_size: (row.get::<_, f64>(3)? as f32, row.get::<_, f64>(4)? as f32),
            faces: faces.iter().filter_map(|numbers| face(numbers)).collect(),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn numbers(face: &SeenFace) -> Vec<f32> {
    let Detection { bbox, score, landmarks } = &face.detection;
    let mut numbers = vec![bbox.x, bbox.y, bbox.w, bbox.h, *score, face.sharpness, face.exposure];
    numbers.extend(landmarks.iter().flat_map(|landmarks| landmarks.0).flat_map(|point| [point.x, point.y]));
    numbers
}

fn face(numbers: &[f32]) -> Option<SeenFace> {
    let [x, y, w, h, score, sharpness, exposure] = *numbers.first_chunk::<PLAIN>()?;
    let points = numbers.get(PLAIN..FULL).map(|rest| {
        let mut points = [Point::new(0.0, 0.0); 5];
        points.iter_mut().zip(rest.chunks_exact(2)).for_each(|(point, pair)| *point = Point::new(pair[0], pair[1]));
        Landmarks(points)
    });
    let detection = Detection { bbox: Rect::new(x, y, w, h), score, landmarks: points };
    Some(SeenFace { detection, sharpness, exposure })
}
