/// What a ``Transport`` has to tell, in the order in which it happened.
public enum TransportEvent: Equatable, Sendable {
    /// A client sees the server's key, which has signed the exchange: `Transport.acceptHostKey` goes on, anything else is to
    /// drop the connection. Keys that replace others must come from the same host key, and are not asked about.
    case hostKey(PublicKey)
    /// The first key exchange is complete in both directions: messages may be sent.
    case ready(sessionID: [UInt8])
    /// A message for the layers above: SSH_MSG_SERVICE_REQUEST, SSH_MSG_SERVICE_ACCEPT, or a number from 50 on.
    case message([UInt8])
    /// The peer's extensions (RFC 8308) are in `Transport.peerExtensions`.
    case extensions
    /// The peer could not make sense of the packet with this sequence number (RFC 4253, 11.4).
    case unimplemented(UInt32)
    /// The peer says something for a log (RFC 4253, 11.3).
    case debug(alwaysDisplay: Bool, text: String)
    /// The peer ended the connection (RFC 4253, 11.1). Nothing follows.
    case disconnected(reason: UInt32, text: String)
    /// What was received could not be processed, or a deadline passed. The peer is told in what is still pending as output;
    /// nothing follows.
    case failed(SSHError)
}
