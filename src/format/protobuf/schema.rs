//! Where the messages' schema comes from.

use std::path::Path;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};

use crate::table::Options;
use crate::table::options::nearest;
use crate::{Error, Result};

pub(super) const MESSAGE: &str = "protobuf.message-class-name";
pub(super) const FILE: &str = "protobuf.schema-file";

/// How large a schema's file may be.
const MAX_FILE: u64 = 64 << 20;

/// The message that the options name.
pub(super) fn message(options: &Options) -> Result<MessageDescriptor> {
    let (name, path) = (options.require(MESSAGE)?, options.require(FILE)?);
    let pool = pool(Path::new(path)).map_err(|e| Error::Option(format!("option '{FILE}' = '{path}': {e}")))?;
    // Java writes `Outer$Inner` for a message within another.
    let found = pool.get_message_by_name(name).or_else(|| pool.get_message_by_name(&name.replace('$', ".")));
    let found = found.or_else(|| pool.all_messages().find(|m| java_name(m) == name));
    found.ok_or_else(|| {
        let known: Vec<_> =
            pool.all_messages().filter(|m| !m.is_map_entry()).map(|m| m.full_name().to_owned()).collect();
        let hint = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("it has {}", known.join(", ")),
        };
        Error::Option(format!("option '{MESSAGE}' = '{name}': no such message in '{path}'; {hint}"))
    })
}

/// A `.proto` file is compiled, with what it imports from its own folder; anything else is a `FileDescriptorSet`, as
/// `protoc --include_imports --descriptor_set_out` writes it.
fn pool(path: &Path) -> Result<DescriptorPool, String> {
    if path.extension().is_some_and(|e| e == "proto") {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut compiler = protox::Compiler::new([folder]).map_err(|e| e.to_string())?;
        compiler.open_file(path).map_err(|e| e.to_string())?;
        return Ok(compiler.descriptor_pool());
    }
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("the file has {size} bytes, and {MAX_FILE} are the most"));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    DescriptorPool::decode(bytes.as_slice()).map_err(|e| format!("no descriptor set: {e}"))
}

/// The class that Java's compiler makes of a message, which Flink's option names.
fn java_name(message: &MessageDescriptor) -> String {
    let file = message.parent_file();
    let options = file.file_descriptor_proto().options.clone().unwrap_or_default();
    let package = options.java_package.clone().unwrap_or_else(|| file.package_name().to_owned());
    let within = message.full_name().strip_prefix(file.package_name()).unwrap_or(message.full_name());
    let class = within.trim_start_matches('.').replace('.', "$");
    let dot = if package.is_empty() { "" } else { "." };
    match options.java_multiple_files() {
        true => format!("{package}{dot}{class}"),
        false => {
            let outer = options.java_outer_classname.clone().unwrap_or_else(|| outer_class(&file));
            format!("{package}{dot}{outer}${class}")
        }
    }
}

/// The file's name in camel case; where a message has that name, `OuterClass` follows.
fn outer_class(file: &FileDescriptor) -> String {
    let base = file.name().rsplit('/').next().unwrap_or_default().trim_end_matches(".proto");
    let mut name = String::new();
    let mut upper = true;
    for c in base.chars() {
        match c.is_alphanumeric() {
            true if upper => name.extend(c.to_uppercase()),
            true => name.push(c),
            false => {}
        }
        upper = !c.is_alphabetic();
    }
    let taken = file.messages().any(|m| m.name() == name) || file.enums().any(|e| e.name() == name);
    if taken { name + "OuterClass" } else { name }
}
