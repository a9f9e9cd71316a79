//! Programs that are asked something and answer at once: what they are (`--describe`), what they think of a
//! config (`--check`). A pipeline names them, so that they may be anything: there is a limit to the time that
//! they take, and to what they say.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::process::die_with_parent;

/// Bytes of an answer at most.
const LONGEST: u64 = 16 << 20;
/// How long what a program leaves behind may hold its output open: it has nothing more to say of it.
const GRACE: Duration = Duration::from_secs(1);

/// Runs a program to its end; `None` if that has not come after `patience`. What it started ends with it.
///
/// # Errors
/// When it cannot be started, or says more than 16 MiB.
pub(crate) fn ask(mut command: Command, patience: Duration) -> std::io::Result<Option<Output>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    die_with_parent(&mut command);
    let mut child = command.spawn()?;
    let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
    let begun = Instant::now();
    let (mut ended, mut said, mut noted) = (None::<(ExitStatus, Instant)>, None, None);
    while begun.elapsed() < patience && (ended.is_none() || said.is_none() || noted.is_none()) {
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        said = said.or_else(|| stdout.try_recv().ok());
        noted = noted.or_else(|| stderr.try_recv().ok());
        if ended.is_some_and(|(_, at)| at.elapsed() > GRACE) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if ended.is_none() || said.is_none() || noted.is_none() {
        end_group(&child);
        child.wait()?;
    }
    let said = said.or_else(|| stdout.recv_timeout(GRACE).ok());
    let noted = noted.or_else(|| stderr.recv_timeout(GRACE).ok());
    let (Some((status, _)), Some(stdout), Some(stderr)) = (ended, said, noted) else {
        return Ok(None);
    };
    let (stdout, stderr) = (stdout?, stderr?);
    if stdout.len().max(stderr.len()) as u64 > LONGEST {
        return Err(std::io::Error::other(format!("its answer is longer than {LONGEST} bytes")));
    }
    Ok(Some(Output { status, stdout, stderr }))
}

/// Reads a pipe on a thread of its own.
fn read(pipe: Option<impl Read + Send + 'static>) -> Receiver<std::io::Result<Vec<u8>>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        // One byte more shows that there are too many; whoever goes on writing then has no reader.
        let read = pipe.map(|pipe| pipe.take(LONGEST + 1).read_to_end(&mut text));
        let _ = send.send(read.transpose().map(|_| text));
    });
    receive
}

/// Kills what is left of a child's process group.
fn end_group(child: &Child) {
    if let Ok(group) = libc::pid_t::try_from(child.id()) {
        // SAFETY: `kill` only sends a signal. The group is the child's own, which it leads or led: the
        // number is not given to another as long as a member is left.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}
