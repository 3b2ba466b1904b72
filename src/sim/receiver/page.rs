//! The latest pictures on one plain page that renews itself.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::Shared;
use super::tally::Picture;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=2>
<title>face-edge receiver</title><style>
body{font:15px/1.4 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;background:#111;color:#ddd}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(10em,1fr));gap:1em}
figure{margin:0;background:#1c1c1c;border-radius:6px;overflow:hidden}
img{display:block;width:100%;height:12em;object-fit:contain;background:#000}
figcaption{padding:.4em .6em;font-size:13px}.bad{color:#f77}
</style><h1>Faces received</h1>";

pub async fn index(State(shared): State<Arc<Shared>>) -> Html<String> {
    let tally = shared.tally.lock();
    let mut html = format!("{HEAD}<p>{}</p><main>", escaped(&tally.summary().to_string()));
    for picture in &tally.pictures {
        html.push_str(&figure(picture));
    }
    html.push_str("</main></html>");
    Html(html)
}

pub async fn picture(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let tally = shared.tally.lock();
    match tally.pictures.iter().find(|picture| picture.received.message_id == name) {
        Some(picture) => ([(header::CONTENT_TYPE, "image/jpeg")], picture.jpeg.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn figure(picture: &Picture) -> String {
    let received = &picture.received;
    let id = escaped(&received.message_id);
    let mut html = format!("<figure><img src=\"/pictures/{id}\" alt=\"\"><figcaption>");
    match (&received.track, received.seq) {
        (Some(track), Some(seq)) => {
            let reason = escaped(received.reason.as_deref().unwrap_or("?"));
            let quality = received.quality.unwrap_or(0.0);
            write!(html, "{} #{seq}<br>{reason}, quality {quality:.2}", escaped(super::short(track)))
        }
        _ => write!(html, "whole frame"),
    }
    .expect("writing to a string cannot fail");
    if !received.problems.is_empty() {
        html.push_str(&format!("<br><span class=bad>{}</span>", escaped(&received.problems.join("; "))));
    }
    html.push_str("</figcaption></figure>");
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
