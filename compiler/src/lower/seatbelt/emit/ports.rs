//! The network: ports of loopback, and the proxy.

use super::{Emitter, literal};
use crate::lower::seatbelt::network::{Network, Ports};
use crate::lower::seatbelt::sexpr::Form;
use crate::profile::{PROXY_PARAMETER, ProxyPlan};

impl Emitter<'_, '_> {
    /// The network.
    pub fn network(&mut self, network: &Network) {
        let closed = Ports::Only(Vec::new());
        if network.proxy == ProxyPlan::None && network.loopback == closed && network.listen == closed {
            return;
        }
        self.heading("Network.");
        for number in &network.opening {
            let named = self.named(*number);
            self.remark(&named);
        }
        if network.loopback != closed {
            self.remark("Ports of loopback that are reached without the proxy.");
            self.ports(&["network-outbound"], "remote", &network.loopback);
        }
        if network.listen != closed {
            self.remark("Ports of loopback that programs inside may listen at.");
            self.ports(&["network-bind", "network-inbound"], "local", &network.listen);
        }
        if network.proxy == ProxyPlan::Loopback {
            self.remark("Everything else goes by the proxy of this run, which decides by these rules.");
            let name = literal(PROXY_PARAMETER);
            let parameter = Form::List(vec![Form::Word("param"), Form::Text(name)]);
            let filter = Form::List(vec![Form::Word("remote"), Form::Word("tcp"), parameter]);
            self.own("allow", &["network-outbound"], vec![filter]);
        }
    }

    fn ports(&mut self, operations: &[&'static str], side: &'static str, ports: &Ports) {
        let filter = |port: &str| {
            let text = literal(&format!("localhost:{port}"));
            Form::List(vec![Form::Word(side), Form::Word("tcp"), Form::Text(text)])
        };
        let each = |ports: &[u16]| ports.iter().map(|port| filter(&port.to_string())).collect::<Vec<Form>>();
        match ports {
            Ports::Only(open) if open.is_empty() => {}
            Ports::Only(open) => self.rule("ports of loopback", "allow", operations, each(open)),
            Ports::AllBut(closed) => {
                self.rule("ports of loopback", "allow", operations, vec![filter("*")]);
                if !closed.is_empty() {
                    let mut filters = each(closed);
                    filters.push(self.message("port"));
                    self.rule("ports of loopback", "deny", operations, filters);
                }
            }
        }
    }
}
