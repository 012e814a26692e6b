import GuestInfo
import GuestInfoHost
import Testing

/// The host's model by itself, register by register, as open-vm-tools's binaries were seen to use it.
struct ModelTests {
    private func call(
        _ host: GuestInfoHost, _ step: MessageStep, _ parameter: UInt32 = 0, id: UInt16 = 0, cookies: (UInt32, UInt32) = (0, 0)
    ) -> BackdoorRegisters {
        var registers = BackdoorRegisters()
        registers.rax = 0x564D_5868
        registers.rbx = UInt64(parameter)
        registers.rcx = UInt64(step.rawValue) << 16 | 0x1E
        registers.rdx = UInt64(id) << 16 | 0x5658
        registers.rsi = UInt64(cookies.0)
        registers.rdi = UInt64(cookies.1)
        host.lowBandwidth(&registers)
        return registers
    }

    @Test func `GETVERSION is answered as VMware does, by other devices as they do`() {
        func version(_ device: GuestInfoHost.Options.Device, magic: UInt64 = 0x564D_5868) -> BackdoorRegisters {
            let host = GuestInfoHost(store: GuestInfoStore())
            host.options.device = device
            var registers = BackdoorRegisters()
            registers.rax = magic
            registers.rbx = 0xA9B2_A797
            registers.rcx = 0xFFFF_000A
            registers.rdx = 0x5658
            host.lowBandwidth(&registers)
            return registers
        }
        for device in [GuestInfoHost.Options.Device.vmware, .vmport] {
            #expect([version(device).rax, version(device).rbx, version(device).rcx] == [6, 0x564D_5868, 2])
        }
        #expect([version(.absent).rax, version(.absent).rbx] == [0xFFFF_FFFF, 0xA9B2_A797])
        #expect(version(.vmware, magic: 1).rax == 0xFFFF_FFFF)
    }

    @Test func `A low-bandwidth exchange, step by step`() {
        let host = GuestInfoHost(store: GuestInfoStore(["guestinfo.foo": bytes("hello-from-vmx")]))
        host.options.highBandwidth = .none
        let open = call(host, .open, 0xC943_5052)
        #expect([open.rcx, open.rdx] == [0x0001_0000, 0])
        let cookies = (UInt32(open.rsi), UInt32(open.rdi))
        #expect(call(host, .sendSize, 22, cookies: cookies).rcx == 0x0001_0000)
        for word: UInt32 in [0x6F66_6E69, 0x7465_672D, 0x6575_6720, 0x6E69_7473, 0x662E_6F66, 0x0000_6F6F] {
            #expect(call(host, .sendPayload, word, cookies: cookies).rcx == 0x0001_0000)
        }
        let size = call(host, .receiveSize, cookies: cookies)
        #expect([size.rbx, size.rcx, size.rdx] == [16, 0x0003_0000, 0x0001_5658])
        for word: UInt64 in [0x6568_2031, 0x2D6F_6C6C, 0x6D6F_7266, 0x786D_762D] {
            let payload = call(host, .receivePayload, 1, cookies: cookies)
            #expect([payload.rbx, payload.rcx, payload.rdx] == [word, 0x0001_0000, 0x0002_5658])
        }
        #expect(call(host, .receiveStatus, 1, cookies: cookies).rcx == 0x0001_0000)
        #expect(call(host, .close, cookies: cookies).rcx == 0x0001_0000)
        #expect(host.openChannels == 0)
        #expect(host.report.requests == [bytes("info-get guestinfo.foo")])
    }

    @Test func `The high-bandwidth registers: cookies have other places in each direction`() {
        let host = GuestInfoHost(store: GuestInfoStore())
        let open = call(host, .open, 0xC943_5052)
        let cookies = (UInt32(open.rsi), UInt32(open.rdi))
        let request = bytes("log x")
        #expect(call(host, .sendSize, 5, cookies: cookies).rcx == 0x0081_0000)
        var out = BackdoorRegisters()
        out.rax = 0x564D_5868
        out.rbx = 0x0001_0000
        out.rcx = 5
        out.rdx = 0x5659
        out.rsi = 0x7FFF_0000_1000
        out.rdi = open.rdi
        out.rbp = open.rsi
        host.highBandwidthOut(&out, message: request)
        #expect([out.rbx, out.rcx, out.rsi] == [0x0001_0000, 0, 0x7FFF_0000_1005])
        let size = call(host, .receiveSize, cookies: cookies)
        #expect([size.rbx, size.rcx] == [2, 0x0083_0000])
        var swapped = out
        swapped.rcx = 2
        swapped.rsi = open.rdi
        swapped.rbp = open.rsi
        #expect(host.highBandwidthIn(&swapped) == [])
        #expect(swapped.rbx == 0)
        var into = out
        into.rbx = 0x0001_0000
        into.rcx = 2
        into.rsi = open.rsi
        into.rdi = 0x7FFF_0000_2000
        into.rbp = open.rdi
        #expect(host.highBandwidthIn(&into) == bytes("1 "))
        #expect([into.rbx, into.rcx, into.rdi] == [0x0001_0000, 0, 0x7FFF_0000_2002])
    }

    @Test func `Calls out of order, too long or with wrong cookies fail and do no harm`() {
        let host = GuestInfoHost(store: GuestInfoStore())
        host.options.highBandwidth = .none
        let open = call(host, .open, 0xC943_5052)
        let cookies = (UInt32(open.rsi), UInt32(open.rdi))
        func status(_ step: MessageStep, _ parameter: UInt32 = 0) -> UInt64 { call(host, step, parameter, cookies: cookies).rcx }
        #expect(status(.sendPayload) == 0)
        #expect(status(.receivePayload, 1) == 0)
        #expect(status(.receiveStatus, 1) == 0)
        // No message is no error.
        #expect(status(.receiveSize) == 0x0001_0000)
        #expect(status(.sendSize, 65_537) == 0)
        #expect(status(.sendSize, 4) == 0x0001_0000)
        #expect(call(host, .sendPayload, 0, cookies: (cookies.0, cookies.1 &+ 1)).rcx == 0)
        #expect(call(host, .sendPayload, 0, id: 1, cookies: cookies).rcx == 0)
        #expect(host.report.wrongCookies == 2)
        #expect(status(.sendPayload, 0x2067_6F6C) == 0x0001_0000)
        #expect(status(.sendPayload, 0) == 0)
        #expect(host.report.requests == [bytes("log ")])
        #expect(call(host, .open, 0xCF4C_4354).rcx == 0)
        #expect((0..<8).map { _ in call(host, .open, 0xC943_5052).rcx } == Array(repeating: 0x0001_0000, count: 7) + [0])
    }

    @Test("a variable is refused so often, and then taken")
    func refusals() throws {
        let session = Session()
        var told: [String] = []
        session.host.store.onSet = { told.append("set \($0)=\(String(decoding: $1, as: UTF8.self))") }
        session.host.store.onRefusal = { told.append("refused \($0)=\(String(decoding: $1, as: UTF8.self))") }
        session.host.store.refuse("guestinfo.A", times: 2)
        for value in ["1", "2"] { #expect(throws: GuestInfoError.self) { try session.client.set("guestinfo.a", bytes(value)) } }
        try session.client.set("guestinfo.b", bytes("3"))
        try session.client.set("guestinfo.a", bytes("4"))
        #expect(throws: GuestInfoError.self) { try session.client.set("guestinfo./host", bytes("5")) }
        #expect(told == ["refused guestinfo.a=1", "refused guestinfo.a=2", "set guestinfo.b=3", "set guestinfo.a=4"])
        #expect(session.host.store["guestinfo.a"] == bytes("4"))
        let store = session.host.store
        #expect(store.isGuests("guestinfo.A") && !store.isGuests("guestinfo.none"))
        store["guestinfo.A"] = bytes("the host's")
        #expect(!store.isGuests("guestinfo.a"))
    }
}
