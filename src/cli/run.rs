//! `run`: one task until its inputs end, no service needed. A JSON line a message on stdout, files under a folder.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context;
use clap::ValueEnum;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{BadInput, DetectorArgs, file_url};
use crate::analysts::Analysts;
use crate::channel::{Channel, Site};
use crate::deliver::{LocalPathWriter, payload};
use crate::domain::{Message, Source, Task, TaskId};
use crate::figures::Figures;
use crate::media::{self, CameraState, Pace};
use crate::rules::{Outcome, Tally};
use crate::task_json::TaskSpec;
use crate::worker::{Observer, Outbound, Picture};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  face-edge run examples/task-sample.json --input visitors.mp4 --output out")]
pub struct Args {
    /// The task, as it would be posted to the service
    task: PathBuf,
    /// Plays this address or file in place of the task's inputs
    #[arg(long, value_name = "URI")]
    input: Option<String>,
    /// Where pictures and messages go
    #[arg(long, value_name = "DIR", default_value = "face-edge-out")]
    output: PathBuf,
    /// How fast files are played: as fast as the analysis takes them, or by the clock; the messages are the same
    #[arg(long, value_enum, default_value = "max")]
    pace: PaceArg,
    #[command(flatten)]
    detector: DetectorArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum PaceArg {
    Max,
    Live,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let tasks = read_tasks(args)?;
    media::init()?;
    let (runtime, model) = args.detector.load()?;
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let folder = args.output.canonicalize()?;
    let writer = LocalPathWriter::new(&folder)?.not_durable();
    let printer = Arc::new(Printer { writer, failure: Mutex::new(None) });
    let outbound: Arc<dyn Outbound> = Arc::<Printer>::clone(&printer);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let analysts = Analysts::start(cores.min(tasks.len()), &runtime, &model, &outbound)?;
    let site = Site {
        node_id: "run".to_owned(),
        mailbox: Arc::clone(analysts.mailbox()),
        new_track_score: model.entry.score_threshold,
        idle_keyframes: false,
        patience: media::Patience::default(),
        figures: Figures::new(),
    };
    let pace = match args.pace {
        PaceArg::Max => Pace::Max,
        PaceArg::Live => Pace::Live,
    };
    let result = play(&site, tasks, pace);
    analysts.stop();
    if let Some(failure) = printer.failure.lock().take() {
        return Err(failure);
    }
    result
}

/// The file's tasks, their outputs replaced by this command's folder and their inputs by `--input`.
fn read_tasks(args: &Args) -> anyhow::Result<Vec<Task>> {
    let name = args.task.display();
    let text = std::fs::read(&args.task).map_err(|error| BadInput(format!("{name}: cannot be read: {error}")))?;
    let spec = TaskSpec::parse(&text).with_context(|| name.to_string())?;
    // The same file gives the same ids, so that two runs can be compared.
    let ids = (0u32..).map(|index| {
        TaskId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, &[text.as_slice(), &index.to_be_bytes()].concat()))
    });
    let mut tasks = spec.tasks(ids);
    if let Some(input) = &args.input {
        tasks.truncate(1);
        tasks[0].source = Source::Url { url: file_url(input)? };
    }
    Ok(tasks)
}

enum Event {
    State(usize, CameraState),
    Drained(usize, Summary),
    Interrupted,
}

/// What became of one input.
#[derive(Default)]
struct Summary {
    pictures: u64,
    tracks: BTreeSet<u64>,
    verdicts: Vec<(&'static str, u64)>,
}

/// One input on its way to its end.
struct Playing {
    channel: Option<Channel>,
    drained: bool,
    /// How the input ended, once it has.
    over: Option<Result<(), BadInput>>,
}

/// Plays every input to its end, or until it is interrupted.
fn play(site: &Site, tasks: Vec<Task>, pace: Pace) -> anyhow::Result<()> {
    let (events, inbox) = sync_channel(64);
    on_interrupt(events.clone())?;
    let mut inputs = Vec::with_capacity(tasks.len());
    for (index, task) in tasks.into_iter().enumerate() {
        let channel = Some(start(site, task, index, pace, &events)?);
        inputs.push(Playing { channel, drained: false, over: None });
    }
    for event in inbox {
        match event {
            Event::State(index, state) => note_state(index, state, &mut inputs[index].over),
            Event::Drained(index, summary) => {
                inputs[index].drained = true;
                report(index, &summary, inputs[index].channel.as_ref());
            }
            Event::Interrupted => inputs.iter_mut().for_each(interrupt),
        }
        for input in inputs.iter_mut().filter(|input| input.drained && input.over.is_some()) {
            input.channel = None;
        }
        if inputs.iter().all(|input| input.channel.is_none()) {
            break;
        }
    }
    inputs.into_iter().filter_map(|input| input.over).collect::<Result<(), BadInput>>()?;
    Ok(())
}

fn start(site: &Site, task: Task, index: usize, pace: Pace, events: &SyncSender<Event>) -> anyhow::Result<Channel> {
    let Source::Url { url } = task.source.clone() else {
        return Err(BadInput(format!("input {index} names a camera of a service; give an address by --input")).into());
    };
    let observer = Reporter { index, events: events.clone(), summary: Summary::default() };
    let states = events.clone();
    let session = Uuid::new_v5(&Uuid::NAMESPACE_OID, task.id.as_str().as_bytes());
    let channel = Channel::start(site, task, &url, pace, session, Box::new(observer), move |state| {
        // Fails only when nobody listens any more, because the command is ending.
        let _ = states.try_send(Event::State(index, state));
    });
    channel.map_err(|error| BadInput(error.to_string()).into())
}

fn on_interrupt(events: SyncSender<Event>) -> anyhow::Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if executor.block_on(tokio::signal::ctrl_c()).is_ok() {
            let _ = events.send(Event::Interrupted);
        }
    })?;
    Ok(())
}

fn interrupt(input: &mut Playing) {
    if input.over.is_none() {
        input.over = Some(Ok(()));
        input.drained = false;
        if let Some(channel) = &mut input.channel {
            channel.end();
        }
    }
}

fn note_state(index: usize, state: CameraState, over: &mut Option<Result<(), BadInput>>) {
    match state {
        CameraState::Connecting => {}
        CameraState::Playing { width, height, codec, decoder } => {
            eprintln!("input {index}: {width}x{height} {codec}, decoded by {decoder}");
        }
        CameraState::Still { fault } => eprintln!("input {index}: {fault}"),
        CameraState::Recovering { fault, attempt, retry_in } => {
            eprintln!("input {index}: {fault}; try {attempt} in {:.1} s", retry_in.as_secs_f32());
        }
        CameraState::Ended { cut_short } => {
            if let Some(fault) = cut_short {
                eprintln!("input {index}: {fault}");
            }
            *over = Some(Ok(()));
        }
        CameraState::Failed { fault } => *over = Some(Err(BadInput(format!("input {index}: {fault}")))),
    }
}

fn report(index: usize, summary: &Summary, channel: Option<&Channel>) {
    let frames = channel.map_or(0, Channel::frames_decoded);
    let left_out = channel.map_or(0, Channel::frames_left_out);
    let analysed = channel.map_or(0, |channel| channel.progress().frames_analysed.load(Ordering::Relaxed));
    let still = channel.map_or(0, |channel| channel.progress().frames_still.load(Ordering::Relaxed));
    let verdicts: Vec<String> = summary.verdicts.iter().map(|(label, count)| format!("{label} {count}")).collect();
    eprintln!(
        "input {index}: {} pictures of {} faces; {frames} frames decoded, {left_out} left out, {analysed} analysed, {still} still; boxes by verdict: {}",
        summary.pictures,
        summary.tracks.len(),
        if verdicts.is_empty() { "none".to_owned() } else { verdicts.join(", ") },
    );
}

struct Reporter {
    index: usize,
    events: SyncSender<Event>,
    summary: Summary,
}

impl Observer for Reporter {
    fn decided(&mut self, outcome: &Outcome<Arc<Picture>>, tally: &Tally) {
        self.summary.pictures += outcome.sendings.len() as u64;
        self.summary.tracks.extend(outcome.sendings.iter().map(|sending| sending.track));
        self.summary.verdicts = tally.iter().filter(|(_, count)| *count > 0).collect();
    }

    fn drained(&mut self) {
        let _ = self.events.send(Event::Drained(self.index, std::mem::take(&mut self.summary)));
    }
}

/// Writes each message's files and prints its line.
struct Printer {
    writer: LocalPathWriter,
    /// The first thing that could not be written; nothing is written after it.
    failure: Mutex<Option<anyhow::Error>>,
}

impl Outbound for Printer {
    fn send(&self, _: &Task, messages: Vec<Message>) {
        let mut failure = self.failure.lock();
        for message in messages {
            if failure.is_none()
                && let Err(error) = self.print(&message)
            {
                *failure = Some(error);
            }
        }
    }
}

impl Printer {
    fn print(&self, message: &Message) -> anyhow::Result<()> {
        let written = self.writer.write(message).context("a picture could not be written")?;
        let line = payload::with_path(message, &written.picture.to_string_lossy(), None);
        writeln!(std::io::stdout().lock(), "{line}").context("stdout")
    }
}
