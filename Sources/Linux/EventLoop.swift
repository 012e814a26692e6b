/// Something that an ``EventLoop`` wakes when one of its descriptors is ready.
public protocol EventHandler: AnyObject {
    /// - Parameter role: what the descriptor is to the handler, as it was given to ``EventLoop/watch(_:_:_:role:)``.
    func ready(role: Int32, _ event: Epoll.Event)
}

/// A set of watched descriptors, each with its handler: the one place where PID 1 waits.
///
/// Level-triggered. A handler holds the watches it has and gives them back with ``unwatch(_:)``; until then the loop keeps
/// the handler alive.
public final class EventLoop {
    /// One watched descriptor. Never means another one: it carries the slot's generation.
    public struct Watch: Equatable, Sendable {
        fileprivate let slot: Int
        fileprivate let generation: UInt32
        fileprivate let descriptor: Int32
    }

    private struct Entry {
        var generation: UInt32 = 0
        var handler: (any EventHandler)?
        var role: Int32 = 0
    }

    private let epoll: Epoll
    private var entries: [Entry] = []
    private var free: [Int] = []
    /// The first failure to watch something. There is nobody to tell of it in the middle of a turn, and nothing works
    /// without: the next ``turn(until:)`` throws it.
    private var failure: SyscallError?

    public init() throws(SyscallError) { epoll = try Epoll() }

    /// The number of descriptors that are watched now.
    public var count: Int { entries.count - free.count }

    /// Starts to watch `descriptor`, which stays open until ``unwatch(_:)``.
    /// - Returns: nil when the kernel refuses; ``turn(until:)`` then says why.
    public func watch(_ descriptor: Int32, _ interest: Epoll.Interest, _ handler: any EventHandler, role: Int32) -> Watch? {
        let slot = free.last ?? entries.count
        let generation = slot < entries.count ? entries[slot].generation &+ 1 : 0
        do throws(SyscallError) {
            try epoll.add(descriptor, interest, token: UInt64(generation) << 32 | UInt64(slot))
        } catch {
            failure = failure ?? EventLoop.named(error, count, role)
            return nil
        }
        let entry = Entry(generation: generation, handler: handler, role: role)
        if slot < entries.count {
            entries[slot] = entry
            free.removeLast()
        } else {
            entries.append(entry)
        }
        return Watch(slot: slot, generation: generation, descriptor: descriptor)
    }

    /// Changes what is waited for.
    public func modify(_ watch: Watch, _ interest: Epoll.Interest) {
        guard isCurrent(watch) else { return }
        do throws(SyscallError) {
            try epoll.modify(watch.descriptor, interest, token: UInt64(watch.generation) << 32 | UInt64(watch.slot))
        } catch {
            failure = failure ?? EventLoop.named(error, count, entries[watch.slot].role)
        }
    }

    /// Descriptors have no names: what they are to their handler, and how many there are, says most of what went wrong.
    private static func named(_ error: SyscallError, _ count: Int, _ role: Int32) -> SyscallError {
        SyscallError(error.operation, "\(error.object), role \(role) of its handler, beside \(count) others", error.errno)
    }

    /// Stops to watch, also for events that have been reported and not handled yet. Call it before the descriptor closes:
    /// the kernel forgets a closed one only when no copy of it is left in any process.
    public func unwatch(_ watch: Watch) {
        guard isCurrent(watch) else { return }
        // It is known to the set, so the only failure left is a descriptor that is closed already, and gone with that.
        try? epoll.remove(watch.descriptor)
        entries[watch.slot].handler = nil
        free.append(watch.slot)
    }

    private func isCurrent(_ watch: Watch) -> Bool {
        entries.indices.contains(watch.slot) && entries[watch.slot].generation == watch.generation && entries[watch.slot].handler != nil
    }

    /// Waits for events until `deadline` (nanoseconds on the monotonic clock; nil: for ever), and hands them out.
    ///
    /// - Throws: ``SyscallError`` of the wait, or of an earlier failure to watch something.
    public func turn(until deadline: Int64?) throws(SyscallError) {
        if let failure { throw failure }
        let timeout = deadline.map { Deadline(nanoseconds: $0).pollTimeout } ?? -1
        for event in try epoll.wait(milliseconds: timeout) {
            let slot = Int(event.token & 0xFFFF_FFFF)
            // An earlier handler of this turn may have ended the watch, and even begun another in its slot.
            guard entries.indices.contains(slot), entries[slot].generation == UInt32(truncatingIfNeeded: event.token >> 32),
                let handler = entries[slot].handler
            else { continue }
            handler.ready(role: entries[slot].role, event)
        }
    }
}
