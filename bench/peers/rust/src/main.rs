//! The safetensors crate, asked what the peers in Python are asked: ../README.md has the protocol.
//!
//! A path is a safetensors file, mapped with memmap2; the format has no checksums. All runs on one thread.
//!
//! open     mmap, SafeTensors::deserialize
//! list     open, then name, dtype and shape of each tensor
//! one      open, then a tensor's bytes, one of each page touched
//! touch    open, then one byte of each page of each tensor
//! copy     open, then each tensor into a Vec of the caller's, allocated and touched before
//! restore  open, then each tensor into a new Vec, in a HashMap by name
//! save     serialize_to_file of tensors in Vecs

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{serialize_to_file, Dtype, SafeTensors};
use serde_json::{json, Value};

type Answer<T> = Result<T, Box<dyn Error>>;

const PAGE: usize = 4096;

struct Request {
    question: String,
    path: PathBuf,
    tensor: String,
    out: PathBuf,
    min: Duration,
}

struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn parse(line: &str) -> Answer<Request> {
    let fields: Value = serde_json::from_str(line)?;
    let text = |name: &str| fields[name].as_str().unwrap_or_default().to_string();
    Ok(Request {
        question: text("question"),
        path: text("path").into(),
        tensor: text("tensor"),
        out: text("out").into(),
        min: Duration::try_from_secs_f64(fields["min_ms"].as_f64().unwrap_or(20.0) / 1000.0)?,
    })
}

fn map(path: &Path) -> Answer<Mmap> {
    // SAFETY: nobody changes the payloads while they are measured.
    Ok(unsafe { Mmap::map(&File::open(path)?)? })
}

/// Opens the file and does `work`, until `min` has been timed, at least once. Closing is not timed, nor is freeing what
/// `work` gives back.
fn mean_us<T>(request: &Request, mut work: impl FnMut(&SafeTensors) -> Answer<T>) -> Answer<Value> {
    let mut spent = Duration::ZERO;
    let mut runs = 0;
    while runs == 0 || spent < request.min {
        let start = Instant::now();
        let mapping = map(&request.path)?;
        let tensors = SafeTensors::deserialize(&mapping)?;
        let answer = black_box(work(&tensors)?);
        spent += start.elapsed();
        runs += 1;
        drop(answer);
    }
    Ok(us(spent, runs))
}

fn us(spent: Duration, runs: u32) -> Value {
    json!({"us": spent.as_secs_f64() * 1e6 / f64::from(runs)})
}

fn list(tensors: &SafeTensors) {
    for (name, view) in tensors.iter() {
        black_box((name, view.dtype(), view.shape()));
    }
}

fn touch(bytes: &[u8]) {
    for byte in bytes.iter().step_by(PAGE).chain(bytes.last()) {
        // SAFETY: a reference is readable.
        black_box(unsafe { std::ptr::read_volatile(byte) });
    }
}

fn touch_all(tensors: &SafeTensors) {
    for (_, view) in tensors.iter() {
        touch(view.data());
    }
}

/// Every tensor in memory of our own, all of it written to.
fn load(path: &Path) -> Answer<Vec<Stored>> {
    let mapping = map(path)?;
    let tensors = SafeTensors::deserialize(&mapping)?;
    Ok(tensors
        .iter()
        .map(|(name, view)| Stored {
            name: name.to_string(),
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: view.data().to_vec(),
        })
        .collect())
}

fn copy(request: &Request) -> Answer<Value> {
    let mut into = load(&request.path)?;
    for tensor in &mut into {
        tensor.bytes.fill(1);
    }
    mean_us(request, |tensors| {
        for tensor in &mut into {
            tensor.bytes.copy_from_slice(tensors.tensor(&tensor.name)?.data());
        }
        Ok(())
    })
}

fn restore(tensors: &SafeTensors) -> HashMap<String, Vec<u8>> {
    let each = tensors.iter();
    each.map(|(name, view)| (name.to_string(), view.data().to_vec())).collect()
}

fn save(request: &Request, sync: bool) -> Answer<Value> {
    let stored = load(&request.path)?;
    let mut spent = Duration::ZERO;
    let mut runs = 0;
    while runs == 0 || spent < request.min {
        let directory = request.out.join(format!("saved-{}-{runs}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let start = Instant::now();
        let saved = save_once(&stored, &directory, sync);
        spent += start.elapsed();
        runs += 1;
        fs::remove_dir_all(&directory)?;
        saved?;
    }
    Ok(us(spent, runs))
}

fn save_once(stored: &[Stored], directory: &Path, sync: bool) -> Answer<()> {
    let path = directory.join("saved.safetensors");
    let mut views = Vec::with_capacity(stored.len());
    for tensor in stored {
        views.push((&tensor.name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?));
    }
    serialize_to_file(views, None, &path)?;
    if sync {
        File::open(&path)?.sync_all()?;
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

fn answer(line: &str) -> Answer<Value> {
    let request = parse(line)?;
    match request.question.as_str() {
        "open" => mean_us(&request, |_| Ok(())),
        "list" => mean_us(&request, |tensors| Ok(list(tensors))),
        "one" => mean_us(&request, |tensors| Ok(touch(tensors.tensor(&request.tensor)?.data()))),
        "touch" => mean_us(&request, |tensors| Ok(touch_all(tensors))),
        "copy" => copy(&request),
        "restore" => mean_us(&request, |tensors| Ok(restore(tensors))),
        "restore_mmap" => Ok(json!({"skip": "there is no such way"})),
        "save" => save(&request, false),
        "save_sync" => save(&request, true),
        "prepare" => Ok(json!({"path": request.path})),
        unknown => Err(format!("what is {unknown:?}?").into()),
    }
}

/// The version of a dependency, as it was built in.
fn version(package: &str) -> Option<&'static str> {
    let (_, rest) = include_str!("../Cargo.lock").split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{}", json!({"safetensors (Rust)": version("safetensors"), "memmap2": version("memmap2")}))?;
    for line in io::stdin().lock().lines() {
        let answer = answer(&line?).unwrap_or_else(|error| json!({"error": error.to_string()}));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
