//! Text tables: columns as wide as their widest cell.

/// Lines of cells, aligned to the left, two spaces apart; no space at the end of a line.
pub fn table(lines: &[impl AsRef<[String]>]) -> String {
    let lines: Vec<&[String]> = lines.iter().map(AsRef::as_ref).collect();
    let columns = lines.iter().map(|l| l.len()).max().unwrap_or(0);
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let padded = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters() {
        let lines = [["a", "b", "c"], ["é", "long", ""]].map(|l| l.map(String::from));
        assert_eq!(table(&lines), "a  b     c\né  long\n");
    }
}
