//! What a size is worth: from the venue's unit to base and quote units.
//!
//! # Promises
//! A size that counts base units stays the venue's own text. Linear contracts are multiplied
//! exactly. Inverse ones are native × multiplier / price, 18 fraction digits, half to even. Where
//! the multiplier or the price is not known there is no value: nothing is guessed.

use std::borrow::Cow;

use crate::decimal::{quotient, write_product, Decimal};
use crate::instrument::{Instrument, QuantityUnit};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Worth {
    pub(super) unit: QuantityUnit,
    /// What one unit is worth, and whether in the currency of the price.
    contract: Option<(Decimal, bool)>,
}

impl Worth {
    pub(super) fn of(instrument: &Instrument) -> Worth {
        let contract = instrument.contract.as_ref().map(|c| (c.multiplier, c.inverse));
        Worth { unit: instrument.unit, contract }
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.unit != QuantityUnit::Base && self.contract.is_none()
    }

    pub(super) fn is_base(&self) -> bool {
        self.unit == QuantityUnit::Base
    }

    /// In base units. Only inverse sizes need the price.
    pub(super) fn base<'a>(&self, native: &'a str, price: Option<&str>) -> Option<Cow<'a, str>> {
        if self.is_base() {
            return Some(Cow::Borrowed(native));
        }
        let size = Decimal::parse(native.as_bytes())?;
        match self.contract? {
            (multiplier, false) => Some(Cow::Owned(product(size, multiplier))),
            (multiplier, true) => {
                let price = Decimal::parse(price?.as_bytes())?;
                let text = quotient(size, multiplier, price)?;
                Some(Cow::Owned(String::from_utf8(text).expect("digits are ASCII")))
            }
        }
    }

    /// In the currency of the price. Inverse sizes do not need it.
    pub(super) fn quote(&self, native: &str, price: Option<&str>) -> Option<String> {
        let size = Decimal::parse(native.as_bytes())?;
        let price = || Decimal::parse(price?.as_bytes());
        match (self.is_base(), self.contract) {
            (true, _) => Some(product(size, price()?)),
            (false, Some((multiplier, true))) => Some(product(size, multiplier)),
            (false, Some((multiplier, false))) => Some(product(size, multiplier.times(price()?)?)),
            (false, None) => None,
        }
    }
}

fn product(a: Decimal, b: Decimal) -> String {
    let mut out = Vec::with_capacity(40);
    write_product(&mut out, a, b);
    String::from_utf8(out).expect("digits are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(unit: QuantityUnit, contract: Option<(&str, bool)>) -> Worth {
        let of = |text: &str| Decimal::parse(text.as_bytes()).unwrap();
        Worth { unit, contract: contract.map(|(text, inverse)| (of(text), inverse)) }
    }

    #[test]
    fn sizes_become_base_and_quote_units() {
        // (unit, multiplier, native, price) -> (base, quote): PROTOCOLS 5.2.
        for (unit, contract, native, price, base, quote) in [
            (QuantityUnit::Base, None, "0.10", "3", Some("0.10"), Some("0.3")),
            (QuantityUnit::Contract, Some(("100", true)), "3", "60000", Some("0.005"), Some("300")),
            (
                QuantityUnit::Contract,
                Some(("0.1", false)),
                "34.95",
                "2",
                Some("3.495"),
                Some("6.99"),
            ),
            (
                QuantityUnit::Contract,
                Some(("0.01", false)),
                "7",
                "0.05",
                Some("0.07"),
                Some("0.0035"),
            ),
            (
                QuantityUnit::Usd,
                Some(("1", true)),
                "20",
                "63344.5",
                Some("0.000315733804829149"),
                Some("20"),
            ),
            (QuantityUnit::Contract, None, "3", "60000", None, None),
            (QuantityUnit::Usd, Some(("1", true)), "20", "0", None, Some("20")),
        ] {
            let worth = worth(unit, contract);
            assert_eq!(worth.base(native, Some(price)).as_deref(), base, "{native} at {price}");
            assert_eq!(worth.quote(native, Some(price)).as_deref(), quote, "{native} at {price}");
        }
    }

    #[test]
    fn only_inverse_sizes_need_a_price_for_base_units() {
        let linear = worth(QuantityUnit::Contract, Some(("0.01", false)));
        assert_eq!(linear.base("7", None).as_deref(), Some("0.07"));
        assert_eq!(worth(QuantityUnit::Usd, Some(("1", true))).base("7", None), None);
    }
}
