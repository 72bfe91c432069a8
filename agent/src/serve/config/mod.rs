//! The configuration file of `zctrace serve`: YAML, in which each flag's name is a key. A value is read by the flag's own
//! parser, so that both can never mean different things. Flags of the command line go before the file. There are no
//! secrets in it: what is secret is in the files that the web configuration names.

mod error;
mod file;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use clap::{ArgMatches, CommandFactory, FromArgMatches, parser::ValueSource};
pub use error::{ConfigError, Problem};
use file::Setting;

use super::web;
use crate::{
    cli::{Cli, Serve},
    error::Error,
};

/// What is in force: flags, then the file, then defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything.
    pub options: Serve,
    /// The same as text, by the flag's name, to tell what a change changes.
    values: BTreeMap<String, Vec<OsString>>,
}

impl Settings {
    /// Names of the flags whose values differ.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(|(name, value)| other.values.get(*name) != Some(value)).map(|(name, _)| name.as_str())
    }
}

/// What the command line `arguments` (its first is the program) and the file that it names say together.
///
/// # Errors
/// What keeps the file or the command line from being used.
pub fn resolve(arguments: &[OsString]) -> Result<Settings, ConfigError> {
    let given = matches(arguments)?;
    let settings = match given.get_one::<PathBuf>("config_file") {
        Some(path) => file::read(path)?.sound(path)?,
        None => Vec::new(),
    };
    let all = matches(&with_settings(arguments, &given, &settings))?;
    let options = Serve::from_arg_matches(&all).map_err(ConfigError::Usage)?;
    Ok(Settings { options, values: values(&all) })
}

/// Checks the configuration file and the web configuration file that `arguments` name.
///
/// # Errors
/// What is wrong, of both files.
pub fn check(arguments: &[OsString]) -> Result<(), Vec<Error>> {
    let mut wrong: Vec<Error> = Vec::new();
    let given = matches(arguments).map_err(|error| vec![error.into()])?;
    let mut web_config = given.get_one::<PathBuf>("web_config").cloned();
    if let Some(path) = given.get_one::<PathBuf>("config_file") {
        match file::read(path) {
            Ok(read) => {
                let named = read.settings.iter().find(|setting| setting.flag == "web.config.file");
                web_config = web_config.or_else(|| Some(PathBuf::from(named?.values.first()?)));
                wrong.extend(read.sound(path).err().map(Error::from));
            }
            Err(error) => wrong.push(error.into()),
        }
    }
    wrong.extend(web_config.and_then(|path| web::check(&path).err()).map(Error::from));
    // What a flag and a file say together.
    if wrong.is_empty() {
        wrong.extend(resolve(arguments).err().map(Error::from));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Names of all keys.
#[must_use]
pub fn names() -> Vec<String> {
    let flags = file::flags();
    let names = flags.get_arguments().filter_map(|flag| flag.get_long());
    names.filter(|name| !file::NOT_IN_FILE.contains(name)).map(str::to_owned).collect()
}

fn matches(arguments: &[OsString]) -> Result<ArgMatches, ConfigError> {
    let mut matches = Cli::command().try_get_matches_from(arguments).map_err(ConfigError::Usage)?;
    match matches.remove_subcommand() {
        Some((name, serve)) if name == "serve" => Ok(serve),
        _ => Err(ConfigError::NoService),
    }
}

/// The command line with what the file says and the command line does not.
fn with_settings(arguments: &[OsString], given: &ArgMatches, settings: &[Setting]) -> Vec<OsString> {
    let is_given = |setting: &&Setting| given.value_source(&setting.id) == Some(ValueSource::CommandLine);
    let more = settings.iter().filter(|setting| !is_given(setting)).flat_map(Setting::arguments).map(OsString::from);
    // Flags before the command's name belong to another command, so it comes first.
    let command = arguments.iter().position(|argument| argument == "serve").map_or(arguments.len(), |at| at + 1);
    arguments[..command].iter().cloned().chain(more).chain(arguments[command..].iter().cloned()).collect()
}

fn values(matches: &ArgMatches) -> BTreeMap<String, Vec<OsString>> {
    file::flags()
        .get_arguments()
        .filter_map(|argument| {
            let values = matches.get_raw(argument.get_id().as_str()).into_iter().flatten();
            Some((argument.get_long()?.to_owned(), values.map(OsString::from).collect()))
        })
        .collect()
}
