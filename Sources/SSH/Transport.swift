public final class Transport {
    public static let maximumPayload = 34_000
    public private(set) var sessionID: [UInt8] = []
    public private(set) var peerSoftware = ""
    public private(set) var peerExtensions: [PeerExtension] = []
    public private(set) var negotiated = NegotiatedAlgorithms()
    public init(_ configuration: TransportConfiguration, random: RandomSource, now: Int64) {}
    public func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) throws(SSHError) {}
    public func nextEvent() -> TransportEvent? { nil }
    public func acceptHostKey() {}
    public func send(_ payload: [UInt8]) {}
    public func answerUnimplemented() {}
    public func rekey() {}
    public func disconnect(_ error: SSHError) {}
    public var pendingOutput: Int { 0 }
    public var queuedPayloadBytes: Int { 0 }
    public var isReady: Bool { false }
    public func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {}
    public var nextDeadline: Int64? { nil }
    public func tick(now: Int64) {}
}
public struct PeerExtension: Equatable, Sendable {
    public let name: String
    public let value: [UInt8]
}
