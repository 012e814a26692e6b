/// How much input was taken from each client that may come again, so that what was on its way when its line dropped is neither
/// lost nor taken twice.
///
/// A client is known by a number that it drew. The clients that wrote least recently are forgotten first.
struct InputSources {
    /// So many clients are remembered, beside those that are attached.
    static let remembered = 32

    private var sources: [(key: UInt64, taken: UInt64)] = []
    /// A client was forgotten: one that is not known may have been here.
    private var hasForgotten = false

    /// A client comes, for the first time or again.
    /// - Parameter isAttached: whether the client of a key is there now, which is not forgotten.
    /// - Returns: how many bytes were taken from it; nil where that is not known any more, and counting begins.
    mutating func begin(_ key: UInt64, isAttached: (UInt64) -> Bool) -> UInt64? {
        if let index = sources.firstIndex(where: { $0.key == key }) {
            sources.append(sources.remove(at: index))
            return sources.last?.taken
        }
        if sources.count >= InputSources.remembered, let index = sources.firstIndex(where: { !isAttached($0.key) }) {
            // Nothing is forgotten of one from which nothing was taken.
            if sources.remove(at: index).taken > 0 { hasForgotten = true }
        }
        sources.append((key, 0))
        return hasForgotten ? nil : 0
    }

    /// Input was taken from a client.
    mutating func count(_ key: UInt64, _ bytes: Int) {
        guard let index = sources.firstIndex(where: { $0.key == key }) else { return }
        sources[index].taken &+= UInt64(max(0, bytes))
    }
}
