//! `face-edge sim camera`: an RTSP camera without a camera.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::sim::camera::{FaultKind, Login, SimCamera, SimSpec, TimedFault};
use crate::sim::recording;
use crate::sim::reports::Reports;

/// Where the password of the simulated camera comes from; never from an argument.
const PASSWORD: &str = "FACE_EDGE_SIM_PASSWORD";

#[derive(Debug, clap::Args)]
#[command(
    about = "An RTSP camera that plays videos in a loop, or a drawn scene with known faces",
    after_help = format!("Examples:\n  face-edge sim camera walk.mp4 crowd.mp4\n  face-edge sim camera --scene --fault lock@30 --fault well@60\n\nVideos are at /cam0, /cam1 and so on; they are H.264 or H.265 and are not encoded anew.\n\nFaults:\n{}", FaultKind::help())
)]
pub struct Args {
    /// Video files, played round and round
    #[arg(required_unless_present = "scene", conflicts_with = "scene")]
    videos: Vec<PathBuf>,
    /// Film a drawn scene with known faces instead; its truth is written beside it as scene.json
    #[arg(long)]
    scene: bool,
    /// Where the drawn scene is kept once it is made
    #[arg(long, value_name = "DIR", default_value = "data/sim")]
    cache: PathBuf,
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8554")]
    listen: SocketAddr,
    /// Ask clients for this user and the password in FACE_EDGE_SIM_PASSWORD
    #[arg(long)]
    user: Option<String>,
    /// Fail after some seconds, by one of the faults below; may be given several times
    #[arg(long = "fault", value_name = "KIND@SECONDS")]
    faults: Vec<TimedFault>,
    /// Let the camera's clock be so far ahead of the true time (negative: behind), as its sender reports tell it
    #[arg(long, value_name = "SECONDS", default_value = "0", allow_negative_numbers = true)]
    clock_offset: f64,
    /// Let the camera send no sender reports, as many cheap ones do
    #[arg(long, conflicts_with = "clock_offset")]
    no_reports: bool,
    /// Begin each path at a whole multiple of its video's length, so that two sizes of one video show the same moment
    #[arg(long)]
    in_step: bool,
}

/// Plays until the process is ended.
pub fn run(args: Args) -> Result<()> {
    let login = args.user.map(login).transpose()?;
    let videos = if args.scene {
        let recording = recording::ensure(&args.cache, &mut progress())
            .with_context(|| format!("cannot make the drawn scene in {}", args.cache.display()))?;
        eprintln!("drawn scene: {}, its truth: {}", recording.video.display(), recording.truth.display());
        vec![recording.video]
    } else {
        args.videos
    };
    let reports = match args.no_reports {
        true => Reports::None,
        false => Reports::Ahead { ms: (args.clock_offset * 1000.0).round() as i64 },
    };
    let count = videos.len();
    let camera = SimCamera::start(SimSpec {
        videos,
        listen: args.listen,
        login,
        faults: args.faults,
        reports,
        in_step: args.in_step,
    })?;
    for index in 0..count {
        println!("{}", camera.url(index));
    }
    camera.wait();
    Ok(())
}

fn login(user: String) -> Result<Login> {
    match std::env::var(PASSWORD) {
        Ok(password) if !password.is_empty() => Ok(Login { user, password }),
        _ => bail!("--user is given but {PASSWORD} is not set: put the camera's password there"),
    }
}

fn progress() -> impl FnMut(usize, usize) {
    let bar = indicatif::ProgressBar::new(0).with_message("drawing the scene");
    bar.set_style(indicatif::ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}").expect("a valid template"));
    move |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from([&["camera"], words].concat()).map(|line| line.args)
    }

    #[test]
    fn it_films_videos_or_the_scene_but_not_both_and_not_nothing() {
        let args = parse(&["a.mp4", "b.mp4", "--fault", "drop@3", "--fault", "freeze@5"]).unwrap();
        assert_eq!((args.videos.len(), args.faults.len(), args.scene), (2, 2, false));
        assert!(parse(&["--scene"]).unwrap().scene);
        assert!(parse(&[]).is_err());
        assert!(parse(&["a.mp4", "--scene"]).is_err());
        assert!(parse(&["a.mp4", "--fault", "melt@3"]).is_err());
        assert_eq!(parse(&["a.mp4", "--clock-offset", "-3.5"]).unwrap().clock_offset, -3.5);
        assert!(parse(&["a.mp4", "--clock-offset", "1", "--no-reports"]).is_err());
    }
}
