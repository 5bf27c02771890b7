//! `CREATE TABLE … LIKE`: what is taken over from the other table.

use datafusion_sql::sqlparser::ast::Ident;

use super::ast::{ColumnDef, ColumnKind, CreateTable, LikeClause, LikeFeature, LikeMode, SqlOption};
use super::place::Place;
use crate::Result;

/// The declaration with the base table's features merged in.
///
/// # Errors
/// When both have a feature and the clause does not say which wins.
pub(super) fn merge(
    new: &CreateTable,
    like: &LikeClause,
    base: &CreateTable,
    place: &Place<'_>,
) -> Result<CreateTable> {
    let modes = Modes::checked(like, place)?;
    let at = place.span_of(&like.table);
    let clash = |what: String, features: &str| {
        Err(place.error(at, format!("the base table already has {what}; say EXCLUDING {features}")))
    };
    let mut merged = CreateTable { like: None, ..new.clone() };
    merged.columns = columns(new, base, &modes, place)?;
    if let Some(theirs) = base.watermark.as_ref().filter(|_| modes.of(LikeFeature::Watermarks) != LikeMode::Excluding) {
        match &new.watermark {
            None => merged.watermark = Some(theirs.clone()),
            Some(_) if modes.of(LikeFeature::Watermarks) == LikeMode::Overwriting => {}
            Some(_) => return clash("a watermark".into(), "WATERMARKS or OVERWRITING WATERMARKS"),
        }
    }
    if !base.primary_key.is_empty() && modes.of(LikeFeature::Constraints) != LikeMode::Excluding {
        if !new.primary_key.is_empty() {
            return clash("a primary key".into(), "CONSTRAINTS");
        }
        merged.primary_key = base.primary_key.iter().map(placeless).collect();
    }
    if !base.partitioned_by.is_empty() && modes.of(LikeFeature::Partitions) != LikeMode::Excluding {
        if !new.partitioned_by.is_empty() {
            return clash("partition keys".into(), "PARTITIONS");
        }
        merged.partitioned_by = base.partitioned_by.iter().map(placeless).collect();
    }
    merged.options = options(new, base, modes.of(LikeFeature::Options), place)?;
    Ok(merged)
}

/// How each feature is taken over.
struct Modes<'a> {
    options: &'a [(LikeMode, LikeFeature)],
}

impl<'a> Modes<'a> {
    fn checked(like: &'a LikeClause, place: &Place<'_>) -> Result<Modes<'a>> {
        use LikeFeature::{All, Constraints, Partitions};
        for (mode, feature) in &like.options {
            if *mode == LikeMode::Overwriting && matches!(feature, All | Constraints | Partitions) {
                let message = "only GENERATED, METADATA, OPTIONS and WATERMARKS can be OVERWRITING";
                return Err(place.error(place.span_of(&like.table), message));
            }
        }
        Ok(Modes { options: &like.options })
    }
}

impl Modes<'_> {
    /// What was said of the feature, else of ALL, else Flink's default.
    fn of(&self, feature: LikeFeature) -> LikeMode {
        let said = |wanted| self.options.iter().rev().find(|(_, f)| *f == wanted).map(|(mode, _)| *mode);
        let default = if feature == LikeFeature::Options { LikeMode::Overwriting } else { LikeMode::Including };
        said(feature).or_else(|| said(LikeFeature::All)).unwrap_or(default)
    }
}

/// A name without its place, which was in another statement.
fn placeless(name: &Ident) -> Ident {
    Ident { quote_style: name.quote_style, ..Ident::new(&name.value) }
}

fn columns(new: &CreateTable, base: &CreateTable, modes: &Modes<'_>, place: &Place<'_>) -> Result<Vec<ColumnDef>> {
    let mut columns: Vec<ColumnDef> = Vec::new();
    for column in &base.columns {
        let mode = feature(&column.kind).map_or(LikeMode::Including, |f| modes.of(f));
        if mode != LikeMode::Excluding {
            columns.push(ColumnDef { name: placeless(&column.name), ..column.clone() });
        }
    }
    let inherited = columns.len();
    for column in &new.columns {
        match columns.iter().take(inherited).position(|c| c.name.value == column.name.value) {
            None => columns.push(column.clone()),
            Some(i) => {
                let same = feature(&column.kind).filter(|f| feature(&columns[i].kind) == Some(*f));
                if same.is_none_or(|f| modes.of(f) != LikeMode::Overwriting) {
                    let message = format!("the base table already has a column '{}'", column.name.value);
                    return Err(place.error(column.name.span, message));
                }
                columns[i] = column.clone();
            }
        }
    }
    Ok(columns)
}

fn feature(kind: &ColumnKind) -> Option<LikeFeature> {
    match kind {
        ColumnKind::Physical { .. } => None,
        ColumnKind::Metadata { .. } => Some(LikeFeature::Metadata),
        ColumnKind::Computed(_) => Some(LikeFeature::Generated),
    }
}

fn options(new: &CreateTable, base: &CreateTable, mode: LikeMode, place: &Place<'_>) -> Result<Vec<SqlOption>> {
    if mode == LikeMode::Excluding {
        return Ok(new.options.clone());
    }
    let mut options: Vec<SqlOption> = Vec::new();
    for theirs in &base.options {
        match new.options.iter().find(|o| o.key == theirs.key) {
            None => options.push(SqlOption { position: place.start(), ..theirs.clone() }),
            Some(_) if mode == LikeMode::Overwriting => {}
            Some(ours) => {
                let message = format!("the base table already has the option '{}'; say OVERWRITING OPTIONS", ours.key);
                return Err(place.error_at(ours.position, ours.key.chars().count() + 2, message));
            }
        }
    }
    options.extend(new.options.iter().cloned());
    Ok(options)
}
