//! What was measured, and how it is shown.

use std::collections::BTreeMap;

/// Every value of every row of every contestant.
#[derive(Debug, Default)]
pub struct Samples {
    values: BTreeMap<(&'static str, String), Vec<f64>>,
}

impl Samples {
    /// One more value.
    pub fn add(&mut self, contestant: &'static str, row: impl Into<String>, value: f64) {
        self.values.entry((contestant, row.into())).or_default().push(value);
    }

    /// The median of a row; none if it was never measured.
    pub fn median(&self, contestant: &'static str, row: &str) -> Option<f64> {
        let mut values = self.values.get(&(contestant, row.to_owned()))?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() % 2 {
            0 => Some((values[middle - 1] + values[middle]) / 2.0),
            _ => Some(values[middle]),
        }
    }
}

/// A number as people read it: three digits that count.
pub fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".into() };
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(w, r)| (w, Some(r)));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    rest.map_or(grouped.clone(), |rest| format!("{grouped}.{rest}"))
}

/// How many times `peer` our value is; `less` when a smaller value is the better one.
pub fn ratio(ours: Option<f64>, peer: Option<f64>, less: bool) -> String {
    match (ours, peer) {
        (Some(ours), Some(peer)) if ours > 0.0 && peer > 0.0 => {
            format!("{:.2}x", if less { peer / ours } else { ours / peer })
        }
        _ => "–".into(),
    }
}

/// Prints a Markdown table.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let line = |cells: &[String]| println!("| {} |", cells.join(" | "));
    line(&head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    println!("|---|{}", "---:|".repeat(head.len() - 1));
    rows.iter().for_each(|row| line(row));
}

/// The machine, in a line.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cpus} processors ({}), Linux {}", model.trim_matches([' ', '\t', ':']), kernel.trim())
}
