//! The six calls.

use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{Exchange, Refused};
use super::fields::Reading;
use super::refusal;
use crate::api::{ApiError, AppState, LookFault};
use crate::clock;
use crate::domain::{FaceOwner, SeenFace, Validity};
use crate::gate_wire::{ADD, Answer, CallNames, LIST, Node, REGISTER, REMOVE, Record, SYNC, TOTAL_SCAN};
use crate::picture::{Kind, PictureLimits};
use crate::store::{EventKind, GateChoice, GateEvent, HeldTicket, NewSample, SCAN_PAGE, StoreError};
use crate::zone::Zone;

/// Events in one answer, and about how many bytes of pictures.
const SYNC_EVENTS: usize = 50;
const SYNC_BYTES: usize = 8 << 20;
const PICTURES: PictureLimits = PictureLimits {
    min_bytes: 1,
    max_bytes: 1_572_864,
    min_side_px: 36,
    max_side_px: 4096,
    kinds: &[Kind::Jpeg, Kind::Png],
};

/// Of TotalScan and List.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what gate_wire reads")]
pub struct PageParm {
    #[schema(min_length = 4, max_length = 4)]
    gatenum: String,
    /// The page after this one; the first where it is empty.
    #[schema(max_length = 32)]
    firstlbsbh: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what gate_wire reads")]
pub struct AddParm {
    #[schema(min_length = 1, max_length = 32)]
    lbsbh: String,
    /// JPEG or PNG in base64, with exactly one face.
    #[schema(max_length = 2_097_152)]
    image: String,
    validfrom: Option<String>,
    validto: String,
    /// None: all.
    gates: Option<Vec<String>>,
}

#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what gate_wire reads")]
pub struct SyncParm {
    #[schema(min_length = 4, max_length = 4)]
    gatenum: String,
    /// 0: from the start.
    #[schema(minimum = 0)]
    lastsuccessindex: Option<i64>,
}

#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what gate_wire reads")]
pub struct RemoveParm {
    #[schema(min_length = 1, max_length = 32)]
    lbsbh: String,
}

#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "describes what gate_wire reads")]
pub struct RegisterParm {
    #[schema(min_length = 4, max_length = 4)]
    gatenum: String,
    #[schema(min_length = 1, max_length = 64)]
    name: String,
}

/// Every answer of this interface.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what gate_wire writes")]
pub struct OperationResult {
    /// 0: done.
    errcode: i32,
    errmsg: String,
    #[schema(value_type = Option<Object>)]
    tag: Option<serde_json::Value>,
}

/// What is no answer of a call: HTTP 400 and above.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what gate_wire writes")]
pub struct HttpError {
    #[serde(rename = "Message")]
    message: String,
    #[serde(rename = "ModelState")]
    #[schema(value_type = Option<Object>, required = false)]
    model_state: Option<serde_json::Value>,
}

/// Looks at a page of 50 samples and puts a delete event for each that is expired.
#[utoipa::path(post, path = "/api/Servo/Face/Buffer/TotalScan", tag = "gate buffer",
    request_body(content((PageParm = "application/json"))),
    responses((status = 200, body = OperationResult), (status = "4XX", body = HttpError), (status = "5XX", body = HttpError)))]
pub(super) async fn total_scan(State(state): State<AppState>, exchange: Exchange) -> Result<Response, Refused> {
    let sent = exchange.fields(TOTAL_SCAN)?;
    let mut reading = Reading::new(&sent);
    let (gatenum, first) = (reading.gatenum(), reading.first_lbsbh());
    if !reading.faults.is_empty() {
        return Err(exchange.faults(&reading.faults));
    }
    exchange.require_gate(&gatenum)?;
    let page = state.store.scan_page(&gatenum, &first, clock::unix_ms()).await.map_err(ours)?;
    let Some(page) = page else { return Ok(no_gate(&exchange, TOTAL_SCAN, &gatenum)) };
    if !page.more {
        state.store.flush_erased().await.map_err(ours)?;
    }
    let tag = vec![("hasmorepage", flag(page.more)), ("lastlbsbh", Node::Text(page.last))];
    Ok(exchange.answer(TOTAL_SCAN, &Answer::done(Some(tag))))
}

/// Enrols a ticket holder, or replaces the picture; an add event for each gate.
#[utoipa::path(post, path = "/api/Servo/Face/Buffer/Add", tag = "gate buffer",
    request_body(content((AddParm = "application/json"))),
    responses((status = 200, body = OperationResult), (status = "4XX", body = HttpError), (status = "5XX", body = HttpError)))]
pub(super) async fn add(State(state): State<AppState>, exchange: Exchange) -> Result<Response, Refused> {
    exchange.require_operator("enrol ticket holders")?;
    let sent = exchange.fields(ADD)?;
    let (zone, now) = (state.faces.zone, clock::unix_ms());
    let mut reading = Reading::new(&sent);
    let (lbsbh, image, gates) = (reading.lbsbh(), reading.image(), reading.gates());
    let validity = reading.validity(zone, now);
    if !reading.faults.is_empty() {
        return Err(exchange.faults(&reading.faults));
    }
    let seen = match one_face(&state, image.clone()).await.map_err(|error| Refused::from(refusal(&error)))? {
        Ok(seen) => seen,
        Err(why) => return Ok(exchange.answer(ADD, &Answer::refused(why))),
    };
    let sample = NewSample {
        owner: FaceOwner::Ticket(lbsbh.clone()),
        face: String::new(),
        seen,
        picture: image,
        model: None,
        validity: Some(validity),
        recognition_model: None,
        user_data: None,
    };
    let choice = if gates.is_empty() { GateChoice::All } else { GateChoice::Some(gates) };
    let sample = state.store.sealed(sample).map_err(ours)?;
    if let Err(gatenum) = state.store.put_ticket(sample, choice, now).await.map_err(ours)? {
        return Ok(no_gate(&exchange, ADD, &gatenum));
    }
    Ok(exchange.answer(ADD, &Answer::done(Some(vec![("lbsbh", Node::Text(lbsbh))]))))
}

/// The one face of a picture; the inner `Err` tells the client what is wrong with the picture.
async fn one_face(state: &AppState, image: Vec<u8>) -> Result<Result<SeenFace, String>, ApiError> {
    match state.faces.look(image, PICTURES, false).await {
        Ok(mut look) if look.faces.len() == 1 => Ok(Ok(look.faces.remove(0))),
        Ok(look) => Ok(Err(format!("image: exactly one face is required, {} were found", look.faces.len()))),
        Err(LookFault::Picture(fault)) => Ok(Err(format!("image: {fault}"))),
        Err(LookFault::Eyes(why)) => Err(ApiError::Unavailable(format!("not available now: {why}"))),
    }
}

/// What a gate shall add and delete, after the index that it reached.
#[utoipa::path(post, path = "/api/Servo/Face/Buffer/Sync", tag = "gate buffer",
    request_body(content((SyncParm = "application/json"))),
    responses((status = 200, body = OperationResult), (status = "4XX", body = HttpError), (status = "5XX", body = HttpError)))]
pub(super) async fn sync(State(state): State<AppState>, exchange: Exchange) -> Result<Response, Refused> {
    let sent = exchange.fields(SYNC)?;
    let mut reading = Reading::new(&sent);
    let (gatenum, index) = (reading.gatenum(), reading.last_success_index());
    if !reading.faults.is_empty() {
        return Err(exchange.faults(&reading.faults));
    }
    exchange.require_gate(&gatenum)?;
    if index > 0 {
        state.store.acknowledge_events(&gatenum, index).await.map_err(ours)?;
    }
    let events = state.store.gate_events(&gatenum, index, SYNC_EVENTS, SYNC_BYTES).await.map_err(ours)?;
    let Some((events, more)) = events else { return Ok(no_gate(&exchange, SYNC, &gatenum)) };
    let last = events.last().map_or(index, |event| event.index);
    let events = events.into_iter().map(|event| shown_event(event, state.faces.zone)).collect();
    let tag =
        vec![("events", Node::List("event", events)), ("hasmorepage", flag(more)), ("lastindex", Node::Whole(last))];
    Ok(exchange.answer(SYNC, &Answer::done(Some(tag))))
}

fn shown_event(event: GateEvent, zone: Zone) -> Record {
    let index = ("index", Node::Whole(event.index));
    let lbsbh = ("lbsbh", Node::Text(event.lbsbh));
    match event.kind {
        EventKind::Delete => vec![index, ("kind", Node::Text("delete".to_owned())), lbsbh],
        EventKind::Add => {
            let mut record = vec![("image", Node::Text(STANDARD.encode(&event.picture))), index];
            record.extend([("kind", Node::Text("add".to_owned())), lbsbh]);
            record.extend(event.validity.into_iter().flat_map(|validity| times(validity, zone)));
            record
        }
    }
}

/// Takes a ticket holder from every gate and erases the sample.
#[utoipa::path(post, path = "/api/Servo/Face/Buffer/Remove", tag = "gate buffer",
    request_body(content((RemoveParm = "application/json"))),
    responses((status = 200, body = OperationResult), (status = "4XX", body = HttpError), (status = "5XX", body = HttpError)))]
pub(super) async fn remove(State(state): State<AppState>, exchange: Exchange) -> Result<Response, Refused> {
    exchange.require_operator("remove ticket holders")?;
    let sent = exchange.fields(REMOVE)?;
    let mut reading = Reading::new(&sent);
    let lbsbh = reading.lbsbh();
    if !reading.faults.is_empty() {
        return Err(exchange.faults(&reading.faults));
    }
    let answer = match state.store.remove_ticket(&lbsbh, clock::unix_ms()).await.map_err(ours)? {
        true => Answer::done(None),
        false => Answer::refused(format!("there is no sample with the lbsbh {lbsbh}")),
    };
    Ok(exchange.answer(REMOVE, &answer))
}

/// What a gate holds, in pages of 50.
#[utoipa::path(post, path = "/api/Servo/Face/Buffer/List", tag = "gate buffer",
    request_body(content((PageParm = "application/json"))),
    responses((status = 200, body = OperationResult), (status = "4XX", body = HttpError), (status = "5XX", body = HttpError)))]
pub(super) async fn list(State(state): State<AppState>, exchange: Exchange) -> Result<Response, Refused> {
    let sent = exchange.fields(LIST)?;
    let mut reading = Reading::new(&sent);
    let (gatenum, first) = (reading.gatenum(), reading.first_lbsbh());
    if !reading.faults.is_empty() {
        return Err(exchange.faults(&reading.faults));
    }
    if exchange.identity.role != crate::api::keys::Role::Viewer {
        exchange.require_gate(&gatenum)?;
    }
    let held = state.store.held_by_gate(&gatenum, &first, SCAN_PAGE).await.map_err(ours)?;
    let Some((held, more)) = held else { return Ok(no_gate(&exchange, LIST, &gatenum)) };
    let last = held.last().map(|ticket| ticket.lbsbh.clone()).unwrap_or_default();
    let sample = |HeldTicket { lbsbh, validity }| {
        let mut record = vec![("lbsbh", Node::Text(lbsbh))];
        record.extend(times(validity, state.faces.zone));
        record
    };
    let samples = Node::List("sample", held.into_iter().map(sample).collect());
    let tag = vec![("hasmorepage", flag(more)), ("lastlbsbh", Node::Text(last)), ("samples", samples)];
    Ok(exchange.answer(LIST, &Answer::done(Some(tag))))
}

/// Makes a gate known, or renames it. A new gate is given the samples of all gates.
#[utoipa::path(post, path = "/api/Servo/Gate/Register", tag = "gate buffer",
    request_body(content((RegisterParm = "application/json"))),
    responses((status = 200, body = OperationResult), (status = "4XX", body = HttpError), (status = "5XX", body = HttpError)))]
pub(super) async fn register(State(state): State<AppState>, exchange: Exchange) -> Result<Response, Refused> {
    exchange.require_operator("register gates")?;
    let sent = exchange.fields(REGISTER)?;
    let mut reading = Reading::new(&sent);
    let (gatenum, name) = (reading.gatenum(), reading.name());
    if !reading.faults.is_empty() {
        return Err(exchange.faults(&reading.faults));
    }
    state.store.register_gate(&gatenum, &name, clock::unix_ms()).await.map_err(ours)?;
    while state.store.fill_gate(&gatenum, clock::unix_ms()).await.map_err(ours)? {}
    Ok(exchange.answer(REGISTER, &Answer::done(None)))
}

fn times(validity: Validity, zone: Zone) -> [(&'static str, Node); 2] {
    [("validfrom", Node::Text(zone.shown(validity.from))), ("validto", Node::Text(zone.shown(validity.to)))]
}

fn flag(more: bool) -> Node {
    Node::Text(if more { "1" } else { "0" }.to_owned())
}

fn no_gate(exchange: &Exchange, names: CallNames, gatenum: &str) -> Response {
    let message = format!("there is no gate {gatenum}; make it known by /api/Servo/Gate/Register");
    exchange.answer(names, &Answer::refused(message))
}

fn ours(error: StoreError) -> Refused {
    refusal(&ApiError::from(error)).into()
}
