/// Reads the end that the peer made of the connection.
enum DisconnectReason {
    /// - Returns: nil for the end that an application wants, or its user.
    static func error(_ reason: UInt32, _ text: String) -> SSHError? {
        let known = SSHError.Reason(rawValue: reason)
        if known == .byApplication || known == .cancelledByUser { return nil }
        let shown = printable(Array(text.utf8), limit: ConnectionLimits.maximumText)
        return SSHError(known ?? .connectionLost, "disconnect", "by the peer", shown.isEmpty ? "it gave reason \(reason)" : shown)
    }
}
