/// The guestinfo variables of one VM, as its extraConfig holds them. Keys are compared without regard to ASCII case.
///
/// Not thread-safe: whoever serves the guest owns it.
public final class GuestInfoStore {
    private var values: [String: [UInt8]] = [:]
    /// Variables that the guest has set last.
    private var guests: Set<String> = []

    /// Called after the guest has set a variable, with the key in lower case and the new value.
    public var onSet: ((String, [UInt8]) -> Void)?

    /// Called when the guest was refused a variable that ``refuse(_:times:)`` names, with the key in lower case and the value.
    public var onRefusal: ((String, [UInt8]) -> Void)?

    /// How often the guest is still refused a variable.
    private var refusals: [String: Int] = [:]

    /// Called before the guest gets a value: whoever changes variables from outside can do it then.
    public var beforeGet: (() -> Void)?

    public init(_ values: [String: [UInt8]] = [:]) {
        for (key, value) in values { self[key] = value }
    }

    /// The host's own access: nothing is read-only, and ``onSet`` is not called. `key` is the full name, with "guestinfo.".
    public subscript(key: String) -> [UInt8]? {
        get { values[key.lowercased()] }
        set {
            values[key.lowercased()] = newValue
            guests.remove(key.lowercased())
        }
    }

    /// Whether the guest, and not the host, has set the variable last.
    public func isGuests(_ key: String) -> Bool { guests.contains(key.lowercased()) }

    /// Refuses the guest's next attempts to set `key`, so many of them, as a busy host does for a moment.
    public func refuse(_ key: String, times: Int) { refusals[key.lowercased()] = times }

    /// Every variable, sorted by key.
    public var all: [(key: String, value: [UInt8])] {
        values.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) }
    }

    /// `info-get`: only variables under "guestinfo." can be seen from the guest.
    func guestGet(_ key: String) -> [UInt8]? {
        beforeGet?()
        return key.lowercased().hasPrefix("guestinfo.") ? self[key] : nil
    }

    /// `info-set`: a key with a '/' belongs to the host.
    /// - Returns: false when the guest may not write `key`.
    func guestSet(_ key: String, _ value: [UInt8]) -> Bool {
        let name = key.lowercased()
        guard name.hasPrefix("guestinfo."), name.utf8.count > "guestinfo.".utf8.count, !name.utf8.contains(UInt8(ascii: "/")) else {
            return false
        }
        if let left = refusals[name], left > 0 {
            refusals[name] = left - 1
            onRefusal?(name, value)
            return false
        }
        values[name] = value
        guests.insert(name)
        onSet?(name, value)
        return true
    }
}
