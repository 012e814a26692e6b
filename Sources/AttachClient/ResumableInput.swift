/// Input on its way to the guest, of which the last that was sent is kept: when the line drops, the guest says how much it has taken,
/// and what is behind that is sent again.
struct ResumableInput {
    /// The most that a client may send ahead of what the guest has taken (docs/attach.md), in bytes.
    static let window = 32 * 1024

    /// What the guest's count says of input that was sent before the line dropped.
    enum Resumption: Equatable {
        /// What was not taken is sent again.
        case whole
        /// So many bytes were not taken and are not kept either.
        case lost(UInt64)
        /// The guest does not know how much it has taken: so many bytes may be lost.
        case unknown(upTo: Int)
        /// The guest has taken more than was sent.
        case impossible
    }

    /// Bytes to be sent.
    private(set) var pending: [UInt8] = []
    private var sent: [UInt8] = []
    /// How many bytes were sent, whatever the connection; those that are sent again count once.
    private(set) var offset: UInt64 = 0

    var isEmpty: Bool { pending.isEmpty }

    mutating func append(_ bytes: some Sequence<UInt8>) { pending += bytes }

    /// Drops what was not sent.
    mutating func drop() { pending = [] }

    /// The first `count` bytes have gone out.
    mutating func advance(_ count: Int) {
        sent += pending.prefix(count)
        pending.removeFirst(min(count, pending.count))
        offset &+= UInt64(max(0, count))
        // Not each time: moving the rest costs more than it frees.
        if sent.count > 2 * ResumableInput.window { sent.removeFirst(sent.count - ResumableInput.window) }
    }

    /// Another connection: the guest has taken `taken` bytes; nil where it does not know, and counts from here.
    mutating func resume(_ taken: UInt64?) -> Resumption {
        guard let taken else {
            let unknown = min(sent.count, ResumableInput.window)
            (sent, offset) = ([], 0)
            return unknown == 0 ? .whole : .unknown(upTo: unknown)
        }
        guard taken <= offset else { return .impossible }
        let missing = offset - taken
        let again = Int(min(missing, UInt64(sent.count)))
        pending = sent.suffix(again) + pending
        sent.removeLast(again)
        offset = taken
        return missing > UInt64(again) ? .lost(missing - UInt64(again)) : .whole
    }
}
