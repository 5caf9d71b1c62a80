//! The store's side: payloads as columns, and the times that they are filed under.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::PyBytes;

use crate::columns;
use crate::filed;

#[pyclass(frozen, module = "marketprism._core")]
pub(super) struct Layout(columns::Layout);

#[pymethods]
impl Layout {
    #[new]
    fn new(columns: Vec<(String, String)>) -> PyResult<Layout> {
        columns::Layout::new(&columns).map(Layout).map_err(PyValueError::new_err)
    }
}

#[pyclass(frozen, get_all, module = "marketprism._core")]
pub(super) struct Block {
    native: Py<PyBytes>,
    rows: usize,
    rejects: Vec<(usize, String)>,
}

#[pyfunction(name = "columns")]
pub(super) fn py_columns(
    py: Python<'_>,
    layout: &Layout,
    payloads: Vec<PyBackedBytes>,
    stream: &str,
    seqs: Vec<u64>,
) -> PyResult<Block> {
    if payloads.len() != seqs.len() {
        return Err(PyValueError::new_err("payloads and seqs differ in length"));
    }
    let block = py.detach(|| columns::columns(&layout.0, &payloads, stream, &seqs));
    let native = PyBytes::new(py, &block.native).unbind();
    Ok(Block { native, rows: block.rows, rejects: block.rejects })
}

#[pyfunction]
pub(super) fn times(py: Python<'_>, payloads: Vec<PyBackedBytes>) -> Vec<(i64, bool)> {
    py.detach(|| payloads.iter().map(|payload| filed::time(payload)).collect())
}

#[pyfunction]
pub(super) fn id_range(ids: Vec<PyBackedStr>, letters: &str) -> Option<(u64, u64)> {
    filed::id_range(&ids, letters)
}
