import GuestInfo

extension GuestInfoHost {
    /// How the host behaves: by default as ESXi does; every departure from that is a fault to hold a guest to.
    public struct Options: Sendable {
        /// In which directions the high-bandwidth port is offered.
        public enum HighBandwidth: String, Sendable, CaseIterable { case both, out, `in`, none }
        /// Which device answers at the port.
        public enum Device: String, Sendable, CaseIterable {
            case vmware
            /// QEMU's vmport: answers GETVERSION as VMware does, but knows no message command and leaves ECX alone.
            case vmport
            /// Nothing: every read gives all ones.
            case absent
        }
        /// What is sent in place of the real reply.
        public enum Reply: Equatable, Sendable {
            case bytes([UInt8])
            /// The message is swallowed: RECVSIZE succeeds and offers nothing.
            case none
        }

        public var highBandwidth = HighBandwidth.both
        public var device = Device.vmware
        /// EAX of GETVERSION.
        public var version = Backdoor.version
        /// Whether OPEN accepts the cookie flag. A host that does not fails such an OPEN and gives cookies 0 without it.
        public var cookies = true
        /// Channels open at once; 8 on older hosts, 128 in today's headers.
        public var maximumChannels = 8
        /// Longest message from the guest in bytes, command text included (GUESTMSG_MAX_IN_SIZE).
        public var maximumRequest = 65_536
        /// Refuses info-get and info-set, as `guest_rpc.rpci.auth.cmd.*` does for the backdoor.
        public var denyInfo = false
        /// Sent instead of every reply.
        public var reply: Reply?
        /// Fills what means nothing with garbage: bits 63 to 32 of every register, and the pad bytes of a last partial word.
        public var garbage = false
        public var faults: [Fault] = []

        public init() {}
    }

    /// A step of the protocol at which a fault can be injected.
    public enum Step: String, Sendable, CaseIterable {
        case open = "open"
        case sendSize = "send-size"
        case sendPayload = "send-payload"
        case highBandwidthOut = "hb-out"
        case receiveSize = "receive-size"
        case receivePayload = "receive-payload"
        case highBandwidthIn = "hb-in"
        case receiveStatus = "receive-status"
        case close = "close"
    }

    /// Something that goes wrong at a step.
    public struct Fault: Equatable, Sendable {
        public enum Effect: String, Sendable, CaseIterable {
            /// Answers CHECKPOINT; the message must start again.
            case checkpoint
            /// Answers with no status bit at all.
            case failure
            /// Drops the channel, so that its cookies are worth nothing, as after a resume: this and every later call fails.
            case forget
        }
        public var step: Step
        public var effect: Effect
        /// How many times the step goes well first.
        public var after: Int
        /// How many times it then goes wrong; nil for ever.
        public var times: Int?

        public init(_ effect: Effect, at step: Step, after: Int = 0, times: Int? = 1) {
            self.effect = effect
            self.step = step
            self.after = after
            self.times = times
        }
    }
}
