/// Columns of text.
enum TextTable {
    /// - Returns: one line a row, its cells as far apart as the widest needs; an empty cell is a `-`.
    static func format(_ rows: [[String]]) -> String {
        let rows = rows.map { row in row.map { $0.isEmpty ? "-" : $0 } }
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }
            return cells.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
