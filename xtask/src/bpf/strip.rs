//! The built object carries DWARF, of which BTF was made; nothing loads it, and it is nine tenths of the object.

use anyhow::{Context, bail};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Sections that must be there.
const NEEDED: [&[u8]; 4] = [b".BTF", b".BTF.ext", b"license", b"maps"];

/// The object without its debugging sections.
pub(super) fn strip(object: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut elf = Builder::read(object).context("the built object is no ELF file")?;
    for section in &mut elf.sections {
        let name: &[u8] = &section.name;
        if name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") {
            section.delete = true;
        }
    }
    elf.delete_orphans();
    for needed in NEEDED {
        if !elf.sections.iter().any(|section| section.name.as_slice() == needed) {
            bail!("the built object has no section {}", String::from_utf8_lossy(needed));
        }
    }
    // LLVM keeps the names of sections and symbols in one table; the writer wants two.
    if !elf.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = elf.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    elf.write(&mut stripped).context("the stripped object could not be written")?;
    Ok(stripped)
}
