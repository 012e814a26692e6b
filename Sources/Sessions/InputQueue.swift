/// What clients have written to a session's standard input and the process has not taken yet.
///
/// It needs no bound of its own: each client may write only what it was granted (``InputQueue/credit``, less what clients that are
/// gone have left), and is granted more when the process has taken what it wrote before.
public struct InputQueue {
    /// What an attachment may write ahead of the process, in bytes.
    public static let credit = 32 * 1024

    private struct Chunk {
        /// The attachment that wrote it and gets the credit back; nil for bytes of ours (an end-of-file character).
        let owner: UInt64?
        var bytes: [UInt8]
        var written = 0
    }

    /// Up to this size a chunk takes what the same attachment writes next.
    private static let chunkSize = 4096

    private var chunks: [Chunk] = []
    /// How many pieces the queue has.
    var chunkCount: Int { chunks.count - head }
    private var head = 0

    var isEmpty: Bool { head == chunks.count }

    /// Whether the process has been given whole lines only, once it has taken all that is queued.
    private(set) var endsLine = true

    mutating func append(_ bytes: [UInt8], owner: UInt64?) {
        guard let last = bytes.last else { return }
        endsLine = last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r")
        // Keys that are typed one by one must not cost many times what they weigh.
        if !isEmpty, let last = chunks.indices.last, chunks[last].owner == owner, chunks[last].bytes.count < InputQueue.chunkSize {
            chunks[last].bytes += bytes
        } else {
            chunks.append(Chunk(owner: owner, bytes: bytes))
        }
    }

    /// Hands the first bytes to `write`, which says how many it took.
    /// - Returns: whose bytes were taken and how many; nil when the queue is empty or nothing was taken.
    mutating func writeFirst(_ write: (UnsafeRawBufferPointer) -> Int) -> (owner: UInt64?, count: Int)? {
        guard !isEmpty else { return nil }
        let chunk = chunks[head]
        let taken = chunk.bytes.withUnsafeBytes { write(UnsafeRawBufferPointer(rebasing: $0[chunk.written...])) }
        guard taken > 0 else { return nil }
        chunks[head].written += taken
        if chunks[head].written >= chunk.bytes.count {
            head += 1
            // Moving the rest to the front costs less than it frees once much of the array is spent.
            if head == chunks.count || head >= 64 {
                chunks.removeFirst(head)
                head = 0
            }
        }
        return (chunk.owner, taken)
    }

    /// How many bytes of those are queued whose owner `isMeant`.
    func count(_ isMeant: (UInt64) -> Bool) -> Int {
        chunks[head...].reduce(0) { sum, chunk in
            guard let owner = chunk.owner, isMeant(owner) else { return sum }
            return sum + chunk.bytes.count - chunk.written
        }
    }

    /// Drops what is queued.
    /// - Parameter dropped: is told whose bytes they were and how many.
    mutating func removeAll(_ dropped: (_ owner: UInt64?, _ count: Int) -> Void) {
        let rest = chunks[head...]
        chunks = []
        head = 0
        endsLine = true
        for chunk in rest { dropped(chunk.owner, chunk.bytes.count - chunk.written) }
    }
}
