import SSH
import SessionLog

/// Channels of a VCH's that nobody reads. While its line is up it joins every session, also those that none of its users is attached to;
/// and its clients are waited for (docs/vic.md), so that the process would stand still as soon as the window of such a channel is full.
extension AttachBridge {
    /// How long a channel whose client has never read takes nothing before its output is left out, in nanoseconds.
    static let unreadPatience: Int64 = 2_000_000_000

    private func isStalled(_ channel: BridgeChannel) -> Bool {
        let mayStall = channel.dialect == .vic && channel.phase == .attached && !channel.hasReader && !channel.pending.isEmpty
        guard mayStall, let client else { return false }
        return client.connection.peerWindow(channel.id) == 0
    }

    /// When ``leaveOutUnread(now:)`` has something to do.
    var nextUnread: Int64? {
        var next: Int64?
        for channel in channels where isStalled(channel) {
            let due = channel.stalledSince.map { $0 &+ AttachBridge.unreadPatience } ?? 0
            next = min(next ?? due, due)
        }
        return next
    }

    /// Leaves out what nobody has room for, where nobody has ever read; from then on at once (``pump()``), until somebody reads.
    func leaveOutUnread(now: Int64) {
        for index in channels.indices {
            guard isStalled(channels[index]) else {
                channels[index].stalledSince = nil
                continue
            }
            let since = channels[index].stalledSince ?? now
            channels[index].stalledSince = since
            if now &- since < AttachBridge.unreadPatience { continue }
            if !channels[index].leavesOut {
                log("\(channels[index].session): nobody reads its channel; what has no room on it is left out")
            }
            channels[index].leavesOut = true
        }
    }

    /// The client has read something.
    func hasRead(_ index: Int) {
        channels[index].hasReader = true
        guard channels[index].leavesOut else { return }
        channels[index].leavesOut = false
        log("\(channels[index].session): its channel is read again; \(channels[index].leftOut) bytes of output were left out")
    }
}

extension BridgeChannel {
    /// Drops what waits to be sent. It stands for bytes of the session's, which goes on behind them.
    mutating func leaveOutPending() {
        for piece in pending {
            leftOut += piece.standsFor
            if piece.stream == .stdout {
                stdoutSent &+= UInt64(max(0, piece.standsFor))
                stdoutToGrant += piece.standsFor
            } else {
                stderrSent &+= UInt64(max(0, piece.standsFor))
                stderrToGrant += piece.standsFor
            }
        }
        pending = []
    }
}
