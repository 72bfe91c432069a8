//! What zctrace can do beside counting: one line for each.

use crate::bench::hooks::Variant;

/// Something that zctrace does, unless it is left out, or only where it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name in tables.
    pub(super) name: &'static str,
    pub(super) how: How,
}

/// How it is had or not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is there unless `--without` names it so.
    Without(&'static str),
    /// It is there where this flag is.
    With(&'static str),
}

/// A new part is a line here.
pub(super) const PARTS: [Part; 7] = [
    Part { name: "machine", how: How::Without("machine") },
    Part { name: "page cache", how: How::Without("page-cache") },
    Part { name: "residency", how: How::Without("residency") },
    Part { name: "order", how: How::Without("order") },
    Part { name: "clients", how: How::With("--clients") },
    Part { name: "latency", how: How::With("--latency") },
    Part { name: "syncs", how: How::With("--syncs") },
];

/// Names of the ways that have no part or several.
pub(super) const NOTHING: &str = "nothing optional";
pub(super) const DEFAULT: &str = "as by default";
pub(super) const EVERYTHING: &str = "everything";

/// The ways to start zctrace: without any part, with each alone, as by default, with all of them.
pub(super) fn variants(parts: &[Part]) -> Vec<Variant> {
    let with = |name: &str, wanted: &dyn Fn(&Part) -> bool| {
        let left_out: Vec<&str> = parts
            .iter()
            .filter_map(|part| match part.how {
                How::Without(word) if !wanted(part) => Some(word),
                _ => None,
            })
            .collect();
        let mut arguments = Vec::new();
        if !left_out.is_empty() {
            arguments.extend(["--without".to_owned(), left_out.join(",")]);
        }
        arguments.extend(parts.iter().filter_map(|part| match part.how {
            How::With(flag) if wanted(part) => Some(flag.to_owned()),
            _ => None,
        }));
        Variant { name: name.to_owned(), arguments }
    };
    let mut variants = vec![with(NOTHING, &|_| false)];
    variants.extend(parts.iter().map(|part| with(part.name, &|it| it == part)));
    variants.push(with(DEFAULT, &|part| matches!(part.how, How::Without(_))));
    if parts.iter().any(|part| matches!(part.how, How::With(_))) {
        variants.push(with(EVERYTHING, &|_| true));
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_had_alone() {
        let parts = [
            Part { name: "disk", how: How::Without("disk") },
            Part { name: "cache", how: How::Without("cache") },
            Part { name: "latency", how: How::With("--latency") },
        ];
        let told: Vec<String> =
            variants(&parts).iter().map(|it| format!("{}: {}", it.name, it.arguments.join(" "))).collect();
        assert_eq!(
            told,
            [
                "nothing optional: --without disk,cache",
                "disk: --without cache",
                "cache: --without disk",
                "latency: --without disk,cache --latency",
                "as by default: ",
                "everything: --latency",
            ]
        );
    }
}
