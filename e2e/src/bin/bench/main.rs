//! The benchmarks: ours and its peers, alternately, in one run; medians and ratios as
//! Markdown tables. Started by `scripts/bench`, which installs what is missing.
//!
//! ```text
//! bench rpc  [--scale S] [--alternations N]
//! bench fuse [--scale S] [--alternations N]
//! bench replicate [--scale S] [--alternations N]
//! bench link [--alternations N]
//! bench udx [--scale S] [--alternations N]
//! bench idle [--alternations N]
//! bench garbage [--scale S]
//! ```
//!
//! Nothing here passes or fails by time; an operation that fails is an error, or, with
//! a peer that cannot do it, a dash.

mod fuse;
mod garbage;
mod idle;
mod link;
mod replicate;
mod replicate_peer;
mod rpc;
mod rpc_driver;
mod samples;
mod udp_line;
mod udx;
mod udx_peer;

use anyhow::{Context, bail};
use std::path::PathBuf;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// 1 is the full run, 0.1 a tenth of it.
    scale: f64,
    /// How often each contestant has its turn.
    alternations: usize,
}

impl Plan {
    /// `count` at this plan's scale; at least one.
    fn scaled(self, count: u64) -> u64 {
        ((count as f64 * self.scale).round() as u64).max(1)
    }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Plan> {
    let mut plan = Plan { scale: 1.0, alternations: 3 };
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--scale" => plan.scale = value.parse().context("--scale")?,
            "--alternations" => plan.alternations = value.parse().context("--alternations")?,
            _ => bail!("unknown option {flag}"),
        }
    }
    if plan.alternations == 0 || plan.scale <= 0.0 {
        bail!("nothing to do");
    }
    Ok(plan)
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("rpc") => rpc::run(plan(arguments)?),
        Some("fuse") => fuse::run(plan(arguments)?),
        Some("link") => link::run(plan(arguments)?),
        Some("replicate") => replicate::run(plan(arguments)?),
        Some("udx") => udx::run(plan(arguments)?),
        Some("idle") => idle::run(plan(arguments)?),
        Some("garbage") => garbage::run(plan(arguments)?),
        // What `rpc` starts as a process of its own, as it starts Node's driver.
        Some("rpc-driver") => {
            let socket = PathBuf::from(arguments.next().context("the server's socket")?);
            rpc_driver::run(socket, plan(arguments)?)
        }
        // What `udx` starts likewise.
        Some("udx-peer") => udx_peer::run(arguments),
        _ => bail!("usage: bench rpc|fuse|replicate|link|udx|idle|garbage [--scale S] [--alternations N]"),
    }
}
