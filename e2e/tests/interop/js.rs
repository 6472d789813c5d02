//! A peer from npm: `interop/net/core-peer.js`.

use anyhow::{Context, bail};
use hyperspace_e2e::node;
use hyperspace_e2e::scratch::Scratch;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

/// A running one. Dropped, it is killed.
pub struct JsPeer {
    commands: mpsc::UnboundedSender<String>,
    waiting: Arc<Mutex<Waiting>>,
    _child: Child,
    _scratch: Scratch,
}

/// Commands that were not answered yet.
#[derive(Default)]
struct Waiting {
    last: u64,
    answers: HashMap<u64, oneshot::Sender<Value>>,
}

impl JsPeer {
    pub fn start() -> anyhow::Result<Self> {
        let scratch = Scratch::new();
        let storage = scratch.join("cores");
        let storage = storage.to_str().context("a path in UTF-8")?;
        let mut child = Command::from(node::command(&scratch, &["net/core-peer.js", storage]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node")?;
        let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (commands, mut lines) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let (Some(line), Some(stdin)) = (lines.recv().await, &mut stdin) {
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let answers = waiting.clone();
        tokio::spawn(async move {
            let Some(stdout) = stdout else { return };
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("node: {line}"));
                let id = answer["id"].as_u64().expect("an answer has an id");
                if let Some(waiting) = answers.lock().expect("unpoisoned").answers.remove(&id) {
                    let _ = waiting.send(answer);
                }
            }
            // It is over: who still waits is told.
            answers.lock().expect("unpoisoned").answers.clear();
        });
        Ok(Self { commands, waiting, _child: child, _scratch: scratch })
    }

    /// Has it do something, and waits for what comes of it.
    pub async fn run(&self, name: &str, mut arguments: Value) -> anyhow::Result<Value> {
        let (send, answer) = oneshot::channel();
        let id = {
            let mut waiting = self.waiting.lock().expect("unpoisoned");
            waiting.last += 1;
            let id = waiting.last;
            waiting.answers.insert(id, send);
            id
        };
        arguments["id"] = id.into();
        arguments["do"] = name.into();
        self.commands.send(format!("{arguments}\n")).context("node is gone")?;
        let mut answer = answer.await.with_context(|| format!("node is gone, asked to {name}"))?;
        if let Some(error) = answer["error"].as_str() {
            bail!("node, asked to {name}: {error}");
        }
        Ok(answer["done"].take())
    }

    /// What went wrong since last asked, without anybody having been told.
    pub async fn faults(&self) -> anyhow::Result<Vec<String>> {
        Ok(serde_json::from_value(self.run("faults", json!({})).await?)?)
    }
}
