import ContainerSpec
import SessionLog

/// The state of the container as hooks read it (runtime-spec, runtime.md, "State").
struct ContainerState {
    private let spec: ContainerSpec
    private let root: String
    private let pid: Int32?

    /// - Parameters:
    ///   - root: the mounted root file system, in PID 1's view.
    ///   - pid: the process whose namespaces are the container's, as PID 1 sees it.
    init(_ spec: ContainerSpec, root: String, pid: Int32?) {
        self.spec = spec
        self.root = root
        self.pid = pid
    }

    /// - Parameter status: "creating", "created", "running" or "stopped".
    func json(_ status: String) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("ociVersion", spec.ociVersion)
        json.member("id", spec.tether.id)
        json.member("status", status)
        if let pid { json.member("pid", Int64(pid)) }
        // There is no bundle; the directory that holds the root is the nearest to one.
        json.member("bundle", bundle)
        if !spec.annotations.isEmpty {
            json.key("annotations")
            json.beginObject()
            for annotation in spec.annotations { json.member(annotation.key, annotation.value) }
            json.endObject()
        }
        json.endObject()
        return json.bytes
    }

    private var bundle: String {
        let parts = root.utf8.split(separator: UInt8(ascii: "/"))
        return parts.count <= 1 ? "/" : parts.dropLast().reduce("") { $0 + "/" + String(Substring($1)) }
    }
}

extension HookRun {
    /// The hooks of one list.
    static func items(_ kind: String, _ hooks: [ContainerHook], _ place: Place, _ state: [UInt8]) -> [Item] {
        hooks.map { Item(kind: kind, hook: $0, place: place, state: state) }
    }

    /// The `poststop` hooks: to be run when the container has ended. One that fails does not keep the next from running.
    ///
    /// - Parameter root: the mounted root file system, in PID 1's view.
    /// - Returns: nil if there are none.
    public static func poststop(_ spec: ContainerSpec, root: String) -> HookRun? {
        if spec.hooks.poststop.isEmpty { return nil }
        let state = ContainerState(spec, root: root, pid: nil).json("stopped")
        return HookRun(items("poststop", spec.hooks.poststop, .runtime, state), stopsAtFailure: false)
    }
}
