"""Does the label-free score choose the right checkpoint?"""
