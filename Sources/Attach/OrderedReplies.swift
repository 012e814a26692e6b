/// Answers that have to be given in the order of the questions, while some of them take longer than others.
struct OrderedReplies<Reply> {
    private var waiting: [(key: UInt32, reply: Reply?)] = []
    private var lastKey: UInt32 = 0

    var isEmpty: Bool { waiting.isEmpty }

    /// A question has come.
    /// - Returns: what to ``answer(_:_:)`` it by.
    mutating func expect() -> UInt32 {
        lastKey &+= 1
        waiting.append((lastKey, nil))
        return lastKey
    }

    /// The answer to a question. An answer to none is dropped.
    mutating func answer(_ key: UInt32, _ reply: Reply) {
        guard let index = waiting.firstIndex(where: { $0.key == key }) else { return }
        waiting[index].reply = reply
    }

    /// The next answer that may be given now.
    mutating func next() -> Reply? {
        guard let first = waiting.first, let reply = first.reply else { return nil }
        waiting.removeFirst()
        return reply
    }
}
