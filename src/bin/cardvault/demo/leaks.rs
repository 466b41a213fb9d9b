//! The demo's last chapter: every file is searched for every number, and a control file that has
//! one of them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::cards::{SHOWN, every_number};
use super::paper::{Ink, Paper};
use super::search::{Form, Found, Search, control};
use crate::failure::{Failure, Outcome};
use crate::files::{Draft, Readers};

/// Whether no number was found, and the control was.
pub(super) fn search(paper: &mut Paper, folder: &Path) -> Outcome<bool> {
    paper.chapter(
        "The search for leaks",
        "every file that was written, in every form; a control file shows that the search works",
    )?;
    let numbers: Vec<&str> = every_number().collect();
    let search = Search::new(&numbers);
    let files = files_under(folder)?;
    let mut bytes = 0;
    let mut places = BTreeMap::<String, (usize, usize, Found)>::new();
    for path in &files {
        let content = fs::read(path).map_err(Failure::at(path))?;
        let name = path.strip_prefix(folder).unwrap_or(path);
        let place = name.iter().next().unwrap_or_default();
        let place = places
            .entry(place.to_string_lossy().into_owned())
            .or_default();
        bytes += content.len();
        place.0 += 1;
        place.1 += content.len();
        for (needle, found) in search.run(&content) {
            place.2.entry(needle).or_default().extend(found);
        }
    }
    let mut clean = places.values().all(|(_, _, found)| found.is_empty());
    let mut rows: Vec<_> = places
        .iter()
        .map(|(name, (files, bytes, found))| {
            [
                name.clone(),
                files.to_string(),
                bytes.to_string(),
                tell(found),
            ]
        })
        .collect();

    let (planted, places) = control(SHOWN);
    let content = planted_file(&folder.join("control.bin"), &planted)?;
    let found = search.run(&content);
    let shown = numbers.iter().position(|number| *number == SHOWN);
    let missed: Vec<_> = places
        .iter()
        .filter(|(form, place)| {
            let found = shown.and_then(|shown| found.get(&(shown, *form)));
            !found.is_some_and(|at| at.iter().any(|at| place.contains(at)))
        })
        .map(|(form, _)| form.name())
        .collect();
    let only_planted = found.keys().all(|(number, _)| Some(*number) == shown);
    let forms = Form::ALL.len();
    rows.push([
        "control.bin, a number planted".to_owned(),
        "1".to_owned(),
        content.len().to_string(),
        format!("found in {} of {forms} forms", forms - missed.len()),
    ]);
    paper.table(["PLACE", "FILES", "BYTES", "CLEAR NUMBERS"], &rows)?;
    paper.line(&format!(
        "   {} files, {bytes} bytes, {} numbers in {forms} forms: {} needles",
        files.len(),
        numbers.len(),
        search.len(),
    ))?;
    paper.line(&format!(
        "   ({} more in BCD are mostly zeros, as every counter is, and are not looked for)",
        search.vague(),
    ))?;
    let names: Vec<_> = Form::ALL.into_iter().map(Form::name).collect();
    paper.line(&format!("   forms: {}", names.join(", ")))?;
    if !missed.is_empty() || !only_planted {
        let text = format!("   the control was missed as {}", missed.join(", "));
        paper.line(&paper.ink(Ink::Bad, &text))?;
        clean = false;
    }
    Ok(clean)
}

/// Writes the control file, reads it back and removes it.
fn planted_file(path: &Path, planted: &[u8]) -> Outcome<Vec<u8>> {
    let mut draft = Draft::begin(path, Readers::Owner)?;
    draft.write_all(planted).map_err(Failure::at(path))?;
    draft.place()?;
    let content = fs::read(path).map_err(Failure::at(path))?;
    fs::remove_file(path).map_err(Failure::at(path))?;
    Ok(content)
}

/// Which forms were found; never the number.
fn tell(found: &Found) -> String {
    if found.is_empty() {
        return "none".to_owned();
    }
    let forms: Vec<_> = found
        .iter()
        .map(|((_, form), places)| format!("{} as {}", places.len(), form.name()))
        .collect();
    format!("FOUND {}", forms.join(", "))
}

fn files_under(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Failure::at(&folder))? {
            let path = entry.map_err(Failure::at(&folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
