//! The program: parses arguments, runs one command, maps its error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    face_edge::cli::main()
}
