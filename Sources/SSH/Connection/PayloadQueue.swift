/// Messages that wait to be sent, first in, first out.
struct PayloadQueue {
    private var payloads = FIFO<[UInt8]>()
    /// What they take of memory, about, in bytes.
    private(set) var cost = 0

    var isEmpty: Bool { payloads.isEmpty }

    mutating func append(_ payload: [UInt8]) {
        cost += payload.count + ConnectionLimits.messageOverhead
        payloads.append(payload)
    }

    mutating func popFirst() -> [UInt8]? {
        guard let payload = payloads.popFirst() else { return nil }
        cost -= payload.count + ConnectionLimits.messageOverhead
        return payload
    }
}
