/// One channel as ``Connection`` keeps it.
struct Channel {
    enum State {
        /// This side opened it, and the peer has not answered.
        case requested
        /// The peer opened it, and this side has not answered.
        case offered
        case open
    }

    let id: ChannelID
    var state: State
    /// The peer's number for it; 0 while it is ``State/requested``.
    var peer: UInt32 = 0
    /// Bytes that may still be sent.
    var sendWindow: UInt32 = 0
    /// The most data that a message to the peer carries.
    var sendMaximum: UInt32 = 0
    /// Bytes that the peer may still send: its window as it may know it once ``grantDue`` is told.
    var receiveWindow: UInt32 = 0
    var receiveMaximum: UInt32 = 0
    /// What the window grew by and the peer has not been told.
    var grantDue: UInt32 = 0
    var sentEOF = false
    var receivedEOF = false
    /// CLOSE has been queued, or will be as soon as the peer's number is known.
    var isClosing = false
    /// Requests of the peer.
    var owed = OwedReplies()
    /// Requests of this side that the peer has not answered.
    var awaited = 0

    /// Data, requests and the like may be sent.
    var canSend: Bool { state == .open && !isClosing }
}

/// Requests of the peer that want an answer and have none yet.
///
/// Answers carry nothing that says what they answer, so they go out in the order of the requests. What this layer refuses by
/// itself waits for the answers that are the consumer's to give.
struct OwedReplies {
    /// For each request that the consumer has to answer, oldest first, how many refused ones came after it.
    private var refusedAfter: [Int] = []
    private(set) var count = 0

    /// A request that the consumer answers.
    mutating func expect() {
        refusedAfter.append(0)
        count += 1
    }

    /// A request that is refused.
    /// - Returns: whether the refusal can be sent now.
    mutating func refuse() -> Bool {
        guard let last = refusedAfter.indices.last else { return true }
        refusedAfter[last] += 1
        count += 1
        return false
    }

    /// The consumer answers.
    /// - Returns: how many refusals go after its answer; nil when there was nothing to answer.
    mutating func answer() -> Int? {
        guard !refusedAfter.isEmpty else { return nil }
        let refusals = refusedAfter.removeFirst()
        count -= 1 + refusals
        return refusals
    }
}
