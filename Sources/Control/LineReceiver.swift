/// How the control protocol begins on a serial line (docs/control.md, "On a serial line").
///
/// A line has no connections: whoever opens it finds in it what was left by the one before, by a boot loader or by noise. So
/// what a client sends is marked: byte 255 is sent as 255 and a `D`, and 255 and an `S` begin a synchronisation, wherever they
/// come. (Doubling the byte, as others do, would not do: after half a pair the next client's mark would be the other half.)
public enum SerialLine {
    static let mark: UInt8 = 0xFF
    static let start = UInt8(ascii: "S")
    static let literal = UInt8(ascii: "D")
    /// What a synchronisation and its answer begin with.
    static let greeting = "tether-control/1 "
    /// The most characters of a nonce.
    static let maximumNonce = 32

    /// What a client sends to begin a conversation.
    /// - Parameter nonce: 1–32 hexadecimal digits, new each time: by them it knows the answer.
    public static func synchronisation(nonce: String) -> [UInt8] { [mark, start] + answer(nonce: nonce) }

    /// What is answered, and followed by the server's messages.
    public static func answer(nonce: String) -> [UInt8] { Array((greeting + nonce + "\n").utf8) }

    /// Appends what a client sends after the answer, with what is no mark made to look unlike one.
    public static func escape(_ data: UnsafeRawBufferPointer, into bytes: inout [UInt8]) {
        var rest = data
        while let position = rest.firstIndex(of: mark) {
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: rest[...position]))
            bytes.append(literal)
            rest = UnsafeRawBufferPointer(rebasing: rest[(position + 1)...])
        }
        bytes.append(contentsOf: rest)
    }
}

/// The guest's end of a serial line: finds where a conversation begins, and takes the marks out of it.
public struct LineReceiver: Sendable {
    /// What was found in the line beside data.
    public enum Finding: Sendable, Equatable {
        case nothing
        /// A client begins anew while a conversation goes on: the other one is over.
        case restarted
        /// A mark with no meaning: bytes are lost or damaged, and the conversation with them.
        case damaged
    }

    /// What the client of this conversation has begun with; nil while there is none.
    private var current: [UInt8]?
    /// A synchronisation that is not complete yet, behind its mark.
    private var line: [UInt8]?
    private var isMarked = false

    public init() {}

    /// Whether a client has begun: what the server says may go out.
    public var isOpen: Bool { current != nil }

    /// Takes what came from the line.
    ///
    /// - Parameters:
    ///   - data: what the client says is appended here, never more than `bytes` has.
    ///   - reply: what has to go out before anything of the server's.
    /// - Returns: what ends the conversation, if anything does. The rest of `bytes` is not looked at then.
    public mutating func receive(_ bytes: UnsafeRawBufferPointer, data: inout [UInt8], reply: inout [UInt8]) -> Finding {
        for byte in bytes {
            if isMarked {
                isMarked = false
                if byte == SerialLine.start {
                    line = []
                } else if isOpen {
                    guard byte == SerialLine.literal, line == nil else { return .damaged }
                    data.append(SerialLine.mark)
                } else {
                    // Noise may hold marks; one before another may be the one that counts.
                    line = nil
                    isMarked = byte == SerialLine.mark
                }
            } else if byte == SerialLine.mark {
                isMarked = true
            } else if line != nil {
                let finding = greet(byte, &reply)
                if finding != .nothing { return finding }
            } else if isOpen {
                data.append(byte)
            }
        }
        return .nothing
    }

    /// Takes the next byte of a synchronisation.
    private mutating func greet(_ byte: UInt8, _ reply: inout [UInt8]) -> Finding {
        var begun = line ?? []
        begun.append(byte)
        line = begun
        let greeting = SerialLine.greeting.utf8.count
        if byte != UInt8(ascii: "\n") {
            if LineReceiver.isPossible(begun) { return .nothing }
        } else if begun.count >= greeting + 2 {
            line = nil
            if current == nil {
                current = begun
                reply.append(contentsOf: begun)
                return .nothing
            }
            // A client that heard nothing yet asks again, with the same nonce: the answer is on its way.
            return current == begun ? .nothing : .restarted
        }
        line = nil
        return isOpen ? .damaged : .nothing
    }

    /// Whether a synchronisation may begin with this.
    private static func isPossible(_ begun: [UInt8]) -> Bool {
        let greeting = SerialLine.greeting.utf8
        if begun.count <= greeting.count { return greeting.starts(with: begun) }
        return begun.count <= greeting.count + SerialLine.maximumNonce && isHexadecimal(begun[greeting.count...])
    }

    private static func isHexadecimal(_ text: ArraySlice<UInt8>) -> Bool {
        text.allSatisfy { ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f")) }
    }
}

/// The client's end: finds the answer to its synchronisation in what comes.
public struct AnswerFinder: Sendable {
    private let answer: [UInt8]
    /// For each length of a match, the longest shorter one that ends in the same bytes (Knuth, Morris and Pratt).
    private let shorter: [Int]
    private var matched = 0
    public private(set) var isFound = false

    public init(nonce: String) {
        let answer = SerialLine.answer(nonce: nonce)
        var shorter = [Int](repeating: 0, count: answer.count + 1)
        var length = 0
        for index in 1..<answer.count {
            while length > 0, answer[index] != answer[length] { length = shorter[length] }
            if answer[index] == answer[length] { length += 1 }
            shorter[index + 1] = length
        }
        self.answer = answer
        self.shorter = shorter
    }

    /// Takes what came from the line.
    /// - Returns: how many bytes are not the server's: all until the answer is complete, then none.
    public mutating func skip(_ bytes: UnsafeRawBufferPointer) -> Int {
        if isFound { return 0 }
        for (index, byte) in bytes.enumerated() {
            while matched > 0, byte != answer[matched] { matched = shorter[matched] }
            if byte == answer[matched] { matched += 1 }
            if matched == answer.count {
                isFound = true
                return index + 1
            }
        }
        return bytes.count
    }
}
