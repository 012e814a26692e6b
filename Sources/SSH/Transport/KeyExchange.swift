/// A key exchange in progress: from the first SSH_MSG_KEXINIT of either side to the peer's SSH_MSG_NEWKEYS.
struct KeyExchange {
    enum Stage: Equatable {
        /// The peer's SSH_MSG_KEXINIT is expected.
        case initialisation
        /// The peer's half of the method is expected.
        case method
        /// A client waits for whoever knows host keys.
        case hostKey
        /// The peer's SSH_MSG_NEWKEYS is expected; this side's has been sent.
        case newKeys
    }

    var stage = Stage.initialisation
    var ownInit: [UInt8]
    var ownLists: KeyExchangeInit
    var peerInit: [UInt8]?
    var algorithms = NegotiatedAlgorithms()
    /// The next message of the method was sent on a guess that turned out wrong (RFC 4253, 7.1).
    var ignoresGuess = false
    /// A client's key, as it was sent.
    var ephemeralKey: EphemeralKey?
    /// What a client comes to while the host key is looked at.
    var derivation: KeyDerivation?
    /// For SSH_MSG_NEWKEYS of the peer.
    var nextReceivingCipher: PacketCipher?

    init(ownInit: [UInt8], ownLists: KeyExchangeInit) {
        self.ownInit = ownInit
        self.ownLists = ownLists
    }
}
