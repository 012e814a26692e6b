/// What both sides of the control protocol agree on (docs/control.md).
public enum ControlProtocol {
    /// The version that this code speaks. A conversation runs in the lower of the two sides' versions.
    public static let version: UInt16 = 1

    /// The most bytes that may follow a frame's length: its type, the longest content, and the fields before that.
    public static let maximumFrame = 65_536 + 256
    /// The most bytes of output or input in one message. Longer ones are cut into several.
    public static let maximumData = 65_536
    /// The most bytes of a JSON document in a message: the process of an exec, the statistics.
    public static let maximumDocument = 65_536
    /// The most bytes of a name: a session's, a peer's. Longer ones are cut.
    public static let maximumName = 128
    /// The most bytes of a text for people: operation, object and cause of an error. Longer ones are cut.
    public static let maximumText = 4096
    /// The most bytes of a session's arguments together, and how many there may be. What is more is left out.
    public static let maximumArgumentBytes = 4096
    public static let maximumArguments = 256
    /// The most host keys that the attach server has.
    public static let maximumHostKeys = 8
    /// The longest description of a terminal's modes in `release`, in bytes.
    public static let maximumModes = 4096
}

/// Why a conversation cannot go on.
public struct ControlError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted, for example `read a frame`.
    public let operation: String
    /// What it was attempted on, for example `65900 bytes`.
    public let object: String
    /// One sentence without its full stop.
    public let cause: String

    public init(_ operation: String, _ object: String, _ cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    public var description: String { object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)" }
}

/// A message of one side, with its form on the wire.
public protocol ControlMessage: Sendable {
    /// Appends the message as one frame, or, where it carries more data than one may have, as several.
    ///
    /// Names and texts that are too long are cut.
    /// - Returns: false, and nothing appended, where a JSON document is longer than ``ControlProtocol/maximumDocument``: half
    ///   of one would be of no use.
    @discardableResult func encode(into bytes: inout [UInt8]) -> Bool

    /// Reads the body of a frame of this type.
    /// - Returns: nil for a type that this version does not know. That the body is as it should be, the reader says.
    static func decode(type: UInt8, _ body: inout BodyReader) -> Self?
}

extension ControlMessage {
    /// The message as the bytes of ``encode(into:)``.
    public var encoded: [UInt8] {
        var bytes: [UInt8] = []
        encode(into: &bytes)
        return bytes
    }
}

/// One frame as its reader understands it.
public enum DecodedFrame<Message: ControlMessage>: Sendable {
    case message(Message)
    /// A message of a type that this version does not know. `tag` is 0 where the body has none.
    case unknown(type: UInt8, tag: UInt32)
}

extension DecodedFrame: Equatable where Message: Equatable {}

/// Cuts a stream of bytes into messages.
///
/// It holds at most one frame of the longest kind. After an error it stays unusable: where a frame has been misunderstood,
/// nothing says where the next one begins.
public struct FrameDecoder: Sendable {
    private var buffer: [UInt8] = []
    private var head = 0
    private var failure: ControlError?

    private static let lengthSize = 4
    private static let capacity = lengthSize + ControlProtocol.maximumFrame

    public init() {}

    /// How many bytes ``append(_:)`` takes now. Never 0 once ``next(_:)`` has answered nil.
    public var room: Int { failure == nil ? FrameDecoder.capacity - pending : 0 }

    /// Bytes that were taken and have not become messages.
    public var pending: Int { buffer.count - head }

    /// Takes the stream's next bytes, at most ``room`` of them.
    /// - Returns: how many were taken.
    @discardableResult
    public mutating func append(_ bytes: UnsafeRawBufferPointer) -> Int {
        let count = min(bytes.count, room)
        guard count > 0 else { return 0 }
        if head > 0, head == buffer.count || buffer.count &+ count > FrameDecoder.capacity {
            buffer.removeFirst(head)
            head = 0
        }
        buffer.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        return count
    }

    /// As ``append(_:)``, from an array.
    @discardableResult
    public mutating func append(_ bytes: [UInt8]) -> Int { bytes.withUnsafeBytes { append($0) } }

    /// The next message; nil until more bytes have come.
    /// - Throws: ``ControlError`` for a frame that is too long or empty, and for a body that does not have its type's form.
    public mutating func next<Message: ControlMessage>(_: Message.Type) throws(ControlError) -> DecodedFrame<Message>? {
        if let failure { throw failure }
        guard pending >= FrameDecoder.lengthSize else { return nil }
        var length = 0
        for index in 0..<FrameDecoder.lengthSize { length |= Int(buffer[head + index]) << (8 * index) }
        guard length > 0 && length <= ControlProtocol.maximumFrame else {
            let cause = length == 0 ? "it is empty" : "a frame has at most \(ControlProtocol.maximumFrame)"
            throw fail(ControlError("read a frame", "of \(length) bytes", cause))
        }
        guard pending >= FrameDecoder.lengthSize + length else { return nil }
        let start = head + FrameDecoder.lengthSize
        head = start + length
        let type = buffer[start]
        var isMalformed = false
        let frame: DecodedFrame<Message> = buffer.withUnsafeBytes { bytes in
            let body = UnsafeRawBufferPointer(rebasing: bytes[(start + 1)..<(start + length)])
            var reader = BodyReader(body)
            if let message = Message.decode(type: type, &reader) {
                isMalformed = !reader.isComplete
                return .message(message)
            }
            var start = BodyReader(body)
            let tag = start.u32()
            return .unknown(type: type, tag: start.hasFailed ? 0 : tag)
        }
        if isMalformed {
            throw fail(ControlError("read a message", "of type \(type)", "its \(length - 1) bytes do not have the type's form"))
        }
        return frame
    }

    private mutating func fail(_ error: ControlError) -> ControlError {
        failure = error
        buffer = []
        head = 0
        return error
    }
}
