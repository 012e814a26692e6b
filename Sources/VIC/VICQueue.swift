/// Results on their way to a host that may refuse them.
///
/// They come in groups: what belongs to one event of one session, or to one network. A key that is refused is tried again after pauses,
/// with everything else behind it. If it is refused even then, its group is put off, and with it what follows of the same owner: whoever
/// watches takes the last key of a group as the word that the others hold. The rest goes on.
public struct VICQueue: Sendable {
    /// Nanoseconds before a key that was refused is tried again, with the rest behind it.
    static let pauses: [Int64] = [10_000_000, 100_000_000, 1_000_000_000]
    /// Nanoseconds before a group that was put off is tried again.
    static let delay: Int64 = 10_000_000_000
    /// The most keys that wait for a host that takes none.
    static let limit = 4096

    /// What follows from it that a key was refused.
    public enum Refusal: Equatable, Sendable {
        /// It is tried again.
        case again
        /// It is, but later, and what is not behind it goes first. Said once of a key.
        case putOff
        /// It is given up: the VM is about to go off.
        case givenUp
    }

    private struct Group {
        let owner: String
        var keys: ArraySlice<VICKeyValue>
        var refusals = 0
        var due: Int64 = 0
        var isPutOff = false
    }

    private var groups: [Group] = []
    /// The one whose key is being written.
    private var current: Int?
    private var isFinal = false

    public init() {}

    /// The keys that the host has not taken.
    public var waiting: [VICKeyValue] { groups.flatMap { $0.keys } }

    /// Adds a group.
    ///
    /// - Parameter owner: whose it is. All groups of one are written in their order.
    /// - Returns: how many keys are given up, as too many wait. They are the oldest, and whole groups.
    public mutating func append(_ keys: [VICKeyValue], of owner: String) -> Int {
        if keys.isEmpty { return 0 }
        current = nil
        groups.append(Group(owner: owner, keys: keys[...]))
        var (count, lost) = (groups.reduce(0) { $0 + $1.keys.count }, 0)
        while count > VICQueue.limit, groups.count > 1 {
            let oldest = groups.removeFirst().keys.count
            lost += oldest
            count -= oldest
        }
        return lost
    }

    /// The key to write now, which then is ``taken()`` or ``refused(_:)``; nil where none is due.
    ///
    /// - Parameter now: monotonic, in nanoseconds.
    public mutating func next(_ now: Int64) -> VICKeyValue? {
        current = turn(now)
        return current.flatMap { groups[$0].keys.first }
    }

    /// When there will be one, in nanoseconds; nil where nothing waits.
    public var due: Int64? {
        var (blocked, earliest): ([String], Int64?) = ([], nil)
        for group in groups where !blocked.contains(group.owner) {
            earliest = min(earliest ?? .max, group.due)
            if !group.isPutOff { break }
            blocked.append(group.owner)
        }
        return earliest
    }

    /// The group whose turn it is.
    private func turn(_ now: Int64) -> Int? {
        var blocked: [String] = []
        for (index, group) in groups.enumerated() where !blocked.contains(group.owner) {
            if group.due <= now { return index }
            if !group.isPutOff { return nil }
            blocked.append(group.owner)
        }
        return nil
    }

    /// The host has taken the key.
    public mutating func taken() { if let index = current { drop(index) } }

    private mutating func drop(_ index: Int) {
        current = nil
        var group = groups[index]
        group.keys.removeFirst()
        (group.refusals, group.due, group.isPutOff) = (0, 0, false)
        if group.keys.isEmpty { groups.remove(at: index) } else { groups[index] = group }
    }

    /// The host has refused it.
    ///
    /// - Parameter now: monotonic, in nanoseconds.
    public mutating func refused(_ now: Int64) -> Refusal {
        guard let index = current else { return .again }
        current = nil
        if groups[index].isPutOff {
            groups[index].due = now &+ VICQueue.delay
            return .again
        }
        if groups[index].refusals < VICQueue.pauses.count {
            groups[index].due = now &+ VICQueue.pauses[groups[index].refusals]
            groups[index].refusals += 1
            return .again
        }
        if isFinal {
            drop(index)
            return .givenUp
        }
        groups[index].isPutOff = true
        groups[index].due = now &+ VICQueue.delay
        return .putOff
    }

    /// The VM is about to go off: nothing is put off any more. What was goes last, for the host may never take it.
    public mutating func finish() {
        isFinal = true
        let owners = groups.filter { $0.isPutOff }.map { $0.owner }
        groups = groups.filter { !owners.contains($0.owner) } + groups.filter { owners.contains($0.owner) }
        for index in groups.indices where groups[index].isPutOff {
            (groups[index].refusals, groups[index].due, groups[index].isPutOff) = (0, 0, false)
        }
    }
}
