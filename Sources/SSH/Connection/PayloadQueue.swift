/// Messages that wait to be sent, first in, first out.
struct PayloadQueue {
    private var payloads: [[UInt8]] = []
    private var first = 0
    /// What they take of memory, about, in bytes.
    private(set) var cost = 0

    var isEmpty: Bool { first == payloads.count }

    mutating func append(_ payload: [UInt8]) {
        cost += payload.count + ConnectionLimits.messageOverhead
        payloads.append(payload)
    }

    mutating func popFirst() -> [UInt8]? {
        guard first < payloads.count else { return nil }
        let payload = payloads[first]
        payloads[first] = []
        first += 1
        cost -= payload.count + ConnectionLimits.messageOverhead
        // What has been taken goes away in one piece, so that each message is moved at most once.
        if first * 2 >= payloads.count {
            payloads.removeFirst(first)
            first = 0
        }
        return payload
    }
}
