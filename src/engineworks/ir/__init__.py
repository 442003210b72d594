"""The compiler's graph: values, nodes, ops, patterns, passes, the scalar language."""

from engineworks.ir import prims as prims
from engineworks.ir.builder import GraphBuilder as GraphBuilder
from engineworks.ir.cases import bf16 as bf16
from engineworks.ir.cases import boolean as boolean
from engineworks.ir.cases import example as example
from engineworks.ir.cases import f16 as f16
from engineworks.ir.cases import f32 as f32
from engineworks.ir.cases import f64 as f64
from engineworks.ir.cases import i8 as i8
from engineworks.ir.cases import i32 as i32
from engineworks.ir.cases import i64 as i64
from engineworks.ir.cases import u8 as u8
from engineworks.ir.foreign import ForeignNode as ForeignNode
from engineworks.ir.foreign import from_onnx as from_onnx
from engineworks.ir.foreign import from_torch as from_torch
from engineworks.ir.foreign import same_as_onnx as same_as_onnx
from engineworks.ir.foreign import same_as_torch as same_as_torch
from engineworks.ir.graph import Graph as Graph
from engineworks.ir.graph import Node as Node
from engineworks.ir.graph import Region as Region
from engineworks.ir.graph import Value as Value
from engineworks.ir.op import Op as Op
from engineworks.ir.op import Reader as Reader
from engineworks.ir.op import op as op
