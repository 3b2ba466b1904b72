//! Samples: a face's row, its sealed picture and its sealed embedding.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use super::super::error::StoreError;
use super::erasures::{self, Why};
use crate::domain::{Embedding, FaceOwner, Landmarks, Point, Rect, SeenFace, UnixMs, Validity};
use crate::seal::Seal;

/// Where a sample stands: its owner and which of the owner's faces it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub kind: i64,
    pub owner: String,
    pub face: String,
}

impl Place {
    pub fn new(owner: &FaceOwner, face: &str) -> Self {
        let (kind, owner) = match owner {
            FaceOwner::Ticket(lbsbh) => (0, lbsbh.clone()),
            FaceOwner::Person(id) => (1, id.to_string()),
            FaceOwner::Number { space, number } => (2, format!("{space}/{number}")),
        };
        Self { kind, owner, face: face.to_owned() }
    }

    pub fn ticket(lbsbh: &str) -> Self {
        Self { kind: 0, owner: lbsbh.to_owned(), face: String::new() }
    }

    fn owner(&self) -> Option<FaceOwner> {
        match self.kind {
            0 => Some(FaceOwner::Ticket(self.owner.clone())),
            1 => Uuid::parse_str(&self.owner).ok().map(FaceOwner::Person),
            _ => {
                let (space, number) = self.owner.split_once('/')?;
                Some(FaceOwner::Number { space: space.parse().ok()?, number: number.parse().ok()? })
            }
        }
    }

    /// What is sealed for one place opens at no other.
    fn bound(&self, what: &str) -> Vec<u8> {
        format!("samples/{what}\n{}\n{}\n{}", self.kind, self.owner, self.face).into_bytes()
    }
}

/// A face to keep.
#[derive(Debug, Clone)]
pub struct NewSample {
    pub owner: FaceOwner,
    /// Which of the owner's; empty for a ticket.
    pub face: String,
    pub seen: SeenFace,
    pub picture: Vec<u8>,
    /// The model that made the embedding.
    pub model: Option<String>,
    pub validity: Option<Validity>,
    pub recognition_model: Option<String>,
    pub user_data: Option<String>,
}

/// As it goes to its rows.
pub struct SealedSample {
    pub place: Place,
    seen: SeenFace,
    picture: Vec<u8>,
    embedding: Option<(String, Vec<u8>)>,
    pub validity: Option<Validity>,
    recognition_model: Option<String>,
    user_data: Option<String>,
}

impl SealedSample {
    pub fn new(seal: &Seal, new: NewSample) -> Self {
        let place = Place::new(&new.owner, &new.face);
        let picture = seal.seal(&new.picture, &place.bound("picture"));
        let embedding = new.seen.embedding.as_ref().zip(new.model).map(|(embedding, model)| {
            let bytes: Vec<u8> = embedding.as_slice().iter().flat_map(|n| n.to_le_bytes()).collect();
            (model, seal.seal(&bytes, &place.bound("embedding")))
        });
        let NewSample { seen, validity, recognition_model, user_data, .. } = new;
        Self { place, seen, picture, embedding, validity, recognition_model, user_data }
    }
}

/// Takes the place of the one that is there, which is erased.
pub fn put(c: &Connection, sample: &SealedSample, all_gates: bool, now: UnixMs) -> Result<(), StoreError> {
    erasures::erase(c, &sample.place, Why::Replaced, now)?;
    let SealedSample { place, seen, validity, .. } = sample;
    let Rect { x, y, w, h } = seen.bbox;
    let points = seen.landmarks.map(|all| all.0.map(|p| [p.x, p.y]));
    c.prepare_cached(
        "INSERT INTO samples (kind, owner, face, valid_from, valid_to, all_gates, box, landmarks, score, quality,
             recognition_model, user_data, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?
    .execute((
        place.kind,
        &place.owner,
        &place.face,
        validity.map(|v| v.from.0),
        validity.map(|v| v.to.0),
        all_gates,
        json(&[x, y, w, h]),
        points.map(|points| json(&points)),
        f64::from(seen.score),
        f64::from(seen.quality),
        &sample.recognition_model,
        &sample.user_data,
        now.0,
    ))?;
    let id = c.last_insert_rowid();
    c.prepare_cached("INSERT INTO sample_pictures VALUES (?1, ?2)")?.execute((id, &sample.picture))?;
    if let Some((model, sealed)) = &sample.embedding {
        c.prepare_cached("INSERT INTO sample_embeddings VALUES (?1, ?2, ?3)")?.execute((id, model, sealed))?;
    }
    Ok(())
}

/// What a sample says without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    pub face: String,
    pub validity: Option<Validity>,
    pub seen: SeenFace,
    pub recognition_model: Option<String>,
    pub user_data: Option<String>,
}

pub fn find(c: &Connection, place: &Place) -> Result<Option<SampleRow>, StoreError> {
    let mut statement = c.prepare_cached("SELECT * FROM samples WHERE kind = ?1 AND owner = ?2 AND face = ?3")?;
    Ok(statement.query_row((place.kind, &place.owner, &place.face), read).optional()?)
}

/// Of an owner, those of one recognition model where it is named, by face.
pub fn of_owner(c: &Connection, owner: &Place, model: Option<&str>) -> Result<Vec<SampleRow>, StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT * FROM samples WHERE kind = ?1 AND owner = ?2 AND (?3 IS NULL OR recognition_model = ?3) ORDER BY face",
    )?;
    Ok(statement.query_map((owner.kind, &owner.owner, model), read)?.collect::<Result<_, _>>()?)
}

pub fn count(c: &Connection, owner: &Place) -> Result<u64, StoreError> {
    let mut statement = c.prepare_cached("SELECT count(*) FROM samples WHERE kind = ?1 AND owner = ?2")?;
    Ok(statement.query_row((owner.kind, &owner.owner), |row| row.get::<_, i64>(0))? as u64)
}

/// Erases all of an owner's. Answers how many there were.
pub fn erase_owner(c: &Connection, owner: &Place, why: Why, now: UnixMs) -> Result<u64, StoreError> {
    let rows = of_owner(c, owner, None)?;
    for row in &rows {
        erasures::erase(c, &Place { face: row.face.clone(), ..owner.clone() }, why, now)?;
    }
    Ok(rows.len() as u64)
}

pub fn picture(c: &Connection, seal: &Seal, place: &Place) -> Result<Option<Vec<u8>>, StoreError> {
    let sealed: Option<Vec<u8>> = c
        .prepare_cached(
            "SELECT p.sealed FROM samples s JOIN sample_pictures p ON p.sample = s.id
             WHERE s.kind = ?1 AND s.owner = ?2 AND s.face = ?3",
        )?
        .query_row((place.kind, &place.owner, &place.face), |row| row.get(0))
        .optional()?;
    sealed.map(|sealed| open(seal, &sealed, &place.bound("picture"))).transpose()
}

/// One stored embedding.
pub struct StoredEmbedding {
    pub owner: FaceOwner,
    pub face: String,
    pub embedding: Embedding,
}

/// Hands every embedding of a model over, one after the other. One that does not open is told and left out.
pub fn embeddings(
    c: &Connection,
    seal: &Seal,
    model: &str,
    each: &mut dyn FnMut(StoredEmbedding),
) -> Result<(), StoreError> {
    let mut statement = c.prepare_cached(
        "SELECT s.kind, s.owner, s.face, e.sealed FROM sample_embeddings e JOIN samples s ON s.id = e.sample
         WHERE e.model = ?1",
    )?;
    let mut rows = statement.query([model])?;
    let mut unreadable = 0;
    while let Some(row) = rows.next()? {
        let place = Place { kind: row.get(0)?, owner: row.get(1)?, face: row.get(2)? };
        let bytes = seal.open(row.get_ref(3)?.as_blob().unwrap_or_default(), &place.bound("embedding"));
        let numbers = bytes.ok().map(|bytes| bytes.as_chunks::<4>().0.iter().map(|n| f32::from_le_bytes(*n)).collect());
        match (place.owner(), numbers.and_then(Embedding::of)) {
            (Some(owner), Some(embedding)) => each(StoredEmbedding { owner, face: place.face, embedding }),
            _ => unreadable += 1,
        }
    }
    if unreadable > 0 {
        tracing::error!(unreadable, "stored embeddings do not open with this installation's key");
    }
    Ok(())
}

fn open(seal: &Seal, sealed: &[u8], bound: &[u8]) -> Result<Vec<u8>, StoreError> {
    seal.open(sealed, bound).map_err(|error| StoreError::Other { detail: format!("a stored picture {error}") })
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("numbers only: always JSON")
}

fn read(row: &Row<'_>) -> rusqlite::Result<SampleRow> {
    let bbox: [f32; 4] = serde_json::from_str(&row.get::<_, String>("box")?).unwrap_or_default();
    let points: Option<[[f32; 2]; 5]> =
        row.get::<_, Option<String>>("landmarks")?.and_then(|text| serde_json::from_str(&text).ok());
    let times = row.get::<_, Option<i64>>("valid_from")?.zip(row.get::<_, Option<i64>>("valid_to")?);
    Ok(SampleRow {
        face: row.get("face")?,
        validity: times.map(|(from, to)| Validity { from: UnixMs(from), to: UnixMs(to) }),
        seen: SeenFace {
            bbox: Rect::new(bbox[0], bbox[1], bbox[2], bbox[3]),
            score: row.get::<_, f64>("score")? as f32,
            landmarks: points.map(|all| Landmarks(all.map(|[x, y]| Point::new(x, y)))),
            quality: row.get::<_, f64>("quality")? as f32,
            embedding: None,
        },
        recognition_model: row.get("recognition_model")?,
        user_data: row.get("user_data")?,
    })
}
