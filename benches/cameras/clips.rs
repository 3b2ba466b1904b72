//! What the cameras play, coded anew with ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Clips {
    pub people: PathBuf,
    /// Coded so that nothing refers to every other picture.
    pub disposable: PathBuf,
    /// People in view, up to three B-frames in a row.
    pub b_frames: PathBuf,
    pub idle: PathBuf,
}

impl Clips {
    pub fn make(folder: &Path) -> Self {
        const SHARED: &str = "../shared/videos/intel_ccby/asl_dev_grid2x2_1280x720_h264.mp4";
        let source = match Path::new(SHARED).canonicalize() {
            Ok(clip) => clip,
            Err(_) => {
                println!("cameras: ../shared/videos is absent, rendering the drawn scene");
                face_edge::sim::recording::ensure(folder, &mut |_, _| {}).expect("the scene renders").video
            }
        };
        println!(
            "cameras: {}, coded anew with 1920x1080, 25 a second, 4 Mbit/s, a key frame every 2 s",
            source.display()
        );
        let source = source.to_string_lossy().into_owned();
        let still = "testsrc2=size=1920x1080:rate=25,trim=end_frame=1,loop=-1:1,setpts=N/25/TB,noise=alls=3:allf=t";
        Self {
            people: encode(folder, "people", &["-i", &source], "0"),
            disposable: encode(folder, "disposable", &["-i", &source], "1"),
            b_frames: encode(folder, "b-frames", &["-i", &source], "3"),
            idle: encode(folder, "idle", &["-f", "lavfi", "-i", still], "0"),
        }
    }
}

fn encode(folder: &Path, name: &str, input: &[&str], b_frames: &str) -> PathBuf {
    let path = folder.join(format!("{name}.mp4"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]).args(input).args(["-t", "10", "-vf", "scale=1920:1080", "-r", "25", "-an"]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-sc_threshold", "0"]);
    command.args(["-bf", b_frames, "-b:v", "4M", "-maxrate", "4M", "-bufsize", "4M"]).arg(&path);
    let status = command.status().expect("ffmpeg is installed (apt-get install ffmpeg)");
    assert!(status.success(), "ffmpeg could not make {}", path.display());
    path
}
